// One tile a car: its camera, how far it is, how it ended; and the chosen car large, with its gauges.

import { byId, element, say } from "./dom.js";
import { rowAt } from "./stream.js";

const GOOD = "Lap complete";
const [WIDTH, HEIGHT] = [160, 120];

export class Cars {
  constructor(choose) {
    this.choose = choose;
    this.eye = byId("eye").getContext("2d");
    this.chase = byId("chase").getContext("2d");
    this.tiles = [];
  }

  set(laps, colours, focus) {
    const same = this.laps && this.laps.cars.length === laps.cars.length;
    this.laps = laps;
    this.colours = colours;
    this.ended = laps.cars.map((car) => laps.statuses[car.status[car.steps - 1]]);
    if (!same) this.build();
    laps.cars.forEach((car, i) => {
      const tile = this.tiles[i];
      tile.name.textContent = car.label.replace(/^episode /, "#");
      tile.chip.style.background = colours[i];
      tile.bar.style.background = colours[i];
      tile.end.className = `end ${this.ended[i] === GOOD ? "good" : "bad"}`;
      tile.end.textContent = this.ended[i] === GOOD ? `Lap ${car.time_s[car.steps - 1].toFixed(2)} s` : this.ended[i];
    });
    say("hidden-cars", laps.hidden ? `the first ${laps.cars.length}; ${laps.hidden} more are not shown` : "");
    this.mark(focus);
  }

  build() {
    this.tiles = this.laps.cars.map((_, i) => {
      const canvas = element("canvas", { width: WIDTH, height: HEIGHT });
      const [chip, name, share] = [element("i", { className: "chip" }), element("span"), element("output")];
      const [bar, end] = [element("i"), element("span", { className: "end" })];
      const over = element("span", { className: "over" }, element("span", {}, chip, name), share);
      const way = element("span", { className: "way" }, bar);
      const button = element("button", { className: "tile", type: "button", "aria-pressed": "false" }, canvas, over, end, way);
      button.addEventListener("click", () => this.choose(i));
      return { button, canvas, context: canvas.getContext("2d"), chip, name, share, bar, end };
    });
    byId("cars").replaceChildren(...this.tiles.map((tile) => tile.button));
  }

  mark(focus) {
    this.focus = Math.min(focus, this.laps.cars.length - 1);
    this.tiles.forEach((tile, i) => tile.button.setAttribute("aria-pressed", String(i === this.focus)));
    say("car", this.laps.cars[this.focus].label);
    byId("chip").style.background = this.colours[this.focus];
  }

  // The sheet of all cameras, and the car from behind.
  show(sheet, chase) {
    byId("drawing").hidden = Boolean(sheet || chase);
    if (sheet) {
      const columns = this.laps.grid[0];
      const cell = (i) => [(i % columns) * WIDTH, Math.floor(i / columns) * HEIGHT, WIDTH, HEIGHT];
      this.tiles.forEach((tile, i) => tile.context.drawImage(sheet, ...cell(i), 0, 0, WIDTH, HEIGHT));
      this.eye.drawImage(sheet, ...cell(this.focus), 0, 0, WIDTH, HEIGHT);
    }
    if (chase) this.chase.drawImage(chase, 0, 0);
    byId("chase").hidden = !chase;
    byId("eye").parentElement.classList.toggle("both", Boolean(chase));
  }

  update(t) {
    this.laps.cars.forEach((car, i) => {
      const row = rowAt(car, t);
      const over = row === car.steps - 1;
      const tile = this.tiles[i];
      tile.share.textContent = `${Math.floor(car.progress_pct[row])} %`;
      tile.bar.style.transform = `scaleX(${Math.min(Math.max(car.progress_pct[row] / 100, 0), 1)})`;
      tile.end.hidden = !over;
      tile.button.classList.toggle("over-now", over && this.ended[i] !== GOOD);
      if (i === this.focus) this.gauges(car, row, over ? this.ended[i] : this.laps.statuses[car.status[row]], over);
    });
  }

  gauges(car, row, status, over) {
    const steer = Math.round(car.steering_deg[row]);
    say("mps", `${car.speed_mps[row].toFixed(1)} m/s`);
    say("steering", steer === 0 ? "straight" : `${Math.abs(steer)}° ${steer > 0 ? "left" : "right"}`);
    say("progress", `${Math.trunc(car.progress_pct[row])} %`);
    say("reward", car.reward[row].toFixed(1));
    say("status", over ? `${status}, ${car.time_s[row].toFixed(2)} s` : status);
  }
}
