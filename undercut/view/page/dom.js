// Small helpers: elements without innerHTML, so that no name from a file can become markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, options = {}, ...children) {
  const { className, text, ...attributes } = options;
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function say(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}

// A row of buttons of which one is pressed.
export function segments(place, choices, chosen, choose) {
  const buttons = choices.map(([value, label]) => {
    const button = element("button", { type: "button", text: label, "aria-pressed": String(value === chosen) });
    button.addEventListener("click", () => {
      mark(value);
      choose(value);
    });
    return [value, button];
  });
  const mark = (value) => {
    for (const [its, button] of buttons) button.setAttribute("aria-pressed", String(its === value));
  };
  place.replaceChildren(...buttons.map(([, button]) => button));
  return mark;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

export const onTheme = (redraw) => dark.addEventListener("change", redraw);

export const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const NAMED = {
  Black: "#30363d", Grey: "#9aa3ad", Blue: "#2f7de1", Red: "#e5484d", Orange: "#ff8a1f", White: "#f4f6f8", Purple: "#9b5de5",
};

// Cars of a race have the colours that they race in; those of a training are told apart by hue.
export function carColours(cars) {
  const named = new Set(cars.map((car) => car.colour));
  if (named.size > 1) return cars.map((car) => NAMED[car.colour] || "#ff8a1f");
  const lightness = [0.72, 0.6, 0.82];
  return cars.map((_, i) => `oklch(${lightness[i % 3]} 0.17 ${Math.round((i * 137.508 + 55) % 360)})`);
}
