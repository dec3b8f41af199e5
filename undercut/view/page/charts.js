// Curves by iteration as SVG: one line or two a chart, values where the pointer is, a click replays the iteration.

import { byId, drawn, element } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [340, 150, 38, 18, 8];

const CHARTS = [
  { title: "Reward", unit: "", digits: 1, lines: [["reward", "mean of the training episodes"]] },
  {
    title: "Completion", unit: " %", digits: 0, range: [0, 100],
    lines: [["evaluation_completion_pct", "evaluation"], ["completion_pct", "training"]],
  },
  { title: "Lap time", unit: " s", digits: 2, lines: [["lap_time_s", "fastest evaluation lap"]] },
  { title: "Entropy", unit: "", digits: 3, lines: [["entropy", "of the policy"]] },
  { title: "Policy loss", unit: "", digits: 4, lines: [["policy_loss", "of the last epoch"]] },
  { title: "Value loss", unit: "", digits: 3, lines: [["value_loss", "of the last epoch"]] },
];

export class Charts {
  constructor(replay) {
    this.replay = replay;
  }

  show(curves) {
    const any = Boolean(curves.iteration?.length);
    byId("no-curves").hidden = any;
    byId("curves").hidden = !any;
    byId("curves").dataset.points = any ? curves.iteration.length : 0;
    if (any) byId("curves").replaceChildren(...CHARTS.map((chart) => this.chart(chart, curves)));
  }

  chart({ title, unit, digits, lines, range }, curves) {
    const text = (value) => (value === null || value === undefined ? "–" : value.toFixed(digits) + unit);
    const last = curves.iteration.length - 1;
    const now = element("span", { className: "now", text: text(curves[lines[0][0]][last]) });
    const legend = element("p", { className: "legend" });
    lines.forEach(([, label], i) => {
      legend.append(element("span", {}, element("i", { className: i ? "two" : "one" }), label));
    });
    const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title} by iteration` });
    const card = element(
      "article", { className: "card curve" },
      element("header", {}, element("h3", { text: title }), now), legend, svg,
    );
    const values = lines.flatMap(([name]) => curves[name]).filter((value) => value !== null && Number.isFinite(value));
    if (!values.length) {
      svg.append(drawn("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "no complete lap yet"));
      return card;
    }
    const [low, high] = range || nice(Math.min(...values), Math.max(...values));
    const x = (i) => LEFT + (last ? i / last : 0.5) * (WIDTH - LEFT - 8);
    const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
    for (const part of [0, 0.5, 1]) {
      const value = low + part * (high - low);
      svg.append(drawn("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(value), y2: y(value) }));
      svg.append(drawn("text", { x: LEFT - 5, y: y(value) + 3, "text-anchor": "end" }, short(value)));
    }
    for (const i of new Set([0, last])) {
      const anchor = !last ? "middle" : i ? "end" : "start";
      svg.append(drawn("text", { x: x(i), y: HEIGHT - 4, "text-anchor": anchor }, String(curves.iteration[i])));
    }
    lines.forEach(([name], k) => this.line(svg, curves[name], x, y, k ? "two" : "one"));
    this.pointer(svg, curves, x, last, (i) => {
      const each = lines.map(([name]) => text(curves[name][i])).join(" · ");
      now.textContent = i === null ? text(curves[lines[0][0]][last]) : `iteration ${curves.iteration[i]}: ${each}`;
    });
    return card;
  }

  line(svg, values, x, y, kind) {
    let path = "";
    let down = false;
    values.forEach((value, i) => {
      if (value === null) down = false;
      else {
        path += `${down ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
        down = true;
      }
    });
    svg.append(drawn("path", { class: `line ${kind}`, d: path }));
    const i = values.findLastIndex((value) => value !== null);
    if (i >= 0) svg.append(drawn("circle", { class: kind, cx: x(i), cy: y(values[i]), r: 3.2 }));
  }

  pointer(svg, curves, x, last, tell) {
    const cross = drawn("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    svg.append(cross);
    const at = (event) => {
      const box = svg.getBoundingClientRect();
      const part = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - 8);
      return Math.min(Math.max(Math.round(part * last), 0), last);
    };
    svg.addEventListener("pointermove", (event) => {
      const i = at(event);
      cross.setAttribute("x1", x(i));
      cross.setAttribute("x2", x(i));
      cross.setAttribute("visibility", "visible");
      tell(i);
    });
    svg.addEventListener("pointerleave", () => {
      cross.setAttribute("visibility", "hidden");
      tell(null);
    });
    svg.addEventListener("click", (event) => this.replay(curves.iteration[at(event)]));
  }
}

// Round ends a little outside of the values.
function nice(low, high) {
  if (low === high) [low, high] = [low - Math.max(Math.abs(low), 1) * 0.1, high + Math.max(Math.abs(high), 1) * 0.1];
  const step = 10 ** Math.floor(Math.log10(high - low)) / 2;
  return [Math.floor(low / step) * step, Math.ceil(high / step) * step];
}

function short(value) {
  return Math.abs(value) >= 10000 ? `${Math.round(value / 1000)}k` : String(Number(value.toPrecision(3)));
}
