// The runs to choose from, and the lap tables.

import { byId, element } from "./dom.js";

const GOOD = "Lap complete";
const BAD = new Set(["Off track", "Crashed", "Immobilized", "Reversed", "Time up"]);

export const keyOf = (entry) => `${entry.kind}/${entry.name}`;

export function showRuns(entries, chosen, choose) {
  byId("runs").replaceChildren(
    ...entries.map((entry) => {
      const first = element("span", { className: "first" }, element("b", { text: entry.name, title: entry.name }));
      if (entry.live) first.append(element("span", { className: "pill", text: "live" }));
      const wrong = entry.problems.length > 0;
      const second = element("span", { className: wrong ? "second wrong" : "second", text: wrong ? "a file is broken" : facts(entry) });
      const button = element("button", { type: "button", "aria-current": String(keyOf(entry) === chosen) }, first, second);
      button.addEventListener("click", () => choose(keyOf(entry)));
      return element("li", {}, button);
    }),
  );
  const select = byId("choose");
  if (document.activeElement !== select) {
    select.replaceChildren(
      ...entries.map((entry) => element("option", { value: keyOf(entry), text: entry.live ? `${entry.name} · live` : entry.name })),
    );
    select.value = chosen;
  }
}

function facts(entry) {
  if (entry.kind === "race") return entry.track ? `race on ${entry.track}` : "race";
  const best = entry.best_completion_pct === null ? "no iteration yet" : `best ${Math.trunc(entry.best_completion_pct)} %`;
  return entry.track ? `${entry.track} · ${best}` : best;
}

export function showTables(tables) {
  byId("tables").replaceChildren(
    ...tables.map(({ title, note, columns, rows, meanings = [] }) => {
      const left = columns.map((_, i) => rows.length > 0 && typeof rows[0][i] === "string" && !/^[–\d-]/.test(rows[0][i]));
      const head = element("tr", {}, ...columns.map((name, i) => element("th", { scope: "col", text: name, title: meanings[i] ?? "", className: left[i] ? "" : "figure" })));
      const body = rows.map((row) => element("tr", {}, ...row.map((value, i) => element("td", { text: value, className: look(value, left[i]) }))));
      const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
      const header = element("header", {}, element("h2", { text: title }), element("p", { text: note }));
      return element("section", { className: "card table" }, header, element("div", { className: "scroll", tabindex: "0", role: "group", "aria-label": title }, table));
    }),
  );
}

function look(value, left) {
  if (value === GOOD) return "good";
  if (BAD.has(value)) return "bad";
  return left ? "" : "figure";
}
