// The track from above with all cars, drawn at the screen's rate between the steps that the server counts.

import { theme } from "./dom.js";
import { rowAt } from "./stream.js";

const CAR_M = [0.32, 0.2];
const LEAST_PX = 15; // a car on a long track is still a car
const TRAIL_S = 2.5;
const JUMP_M = 0.6; // put back on the road: nothing lies between

export class TrackMap {
  constructor(canvas, choose) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.places = [];
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const near = this.places.map(([px, py], car) => [Math.hypot(px - x, py - y), car]).sort((a, b) => a[0] - b[0])[0];
      if (near && near[0] < 40) choose(near[1]);
    });
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  set(laps, colours) {
    this.laps = laps;
    this.colours = colours;
    this.road = null;
    this.fit();
  }

  clear() {
    this.laps = null;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [w, h] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) [this.canvas.width, this.canvas.height] = [w, h];
    if (!this.laps || !width || !height) return;
    const points = this.laps.track ? [...this.laps.track.inner, ...this.laps.track.outer] : driven(this.laps);
    const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const [dx, dy] = [Math.max(x1 - x0, 0.1), Math.max(y1 - y0, 0.1)];
    const margin = 22;
    const scaleOf = (across, up) => Math.min((width - 2 * margin) / across, (height - 2 * margin) / up);
    const turned = scaleOf(dy, dx) > 1.15 * scaleOf(dx, dy); // a long track on an upright phone
    const scale = turned ? scaleOf(dy, dx) : scaleOf(dx, dy);
    const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
    this.scale = scale;
    this.turn = turned ? Math.PI / 2 : 0;
    this.place = turned
      ? (x, y) => [width / 2 - (y - cy) * scale, height / 2 - (x - cx) * scale]
      : (x, y) => [width / 2 + (x - cx) * scale, height / 2 - (y - cy) * scale];
    this.road = null;
  }

  // The road never changes while laps are played: it is drawn once.
  background() {
    const picture = document.createElement("canvas");
    [picture.width, picture.height] = [this.canvas.width, this.canvas.height];
    const c = picture.getContext("2d");
    c.scale(this.ratio, this.ratio);
    const track = this.laps.track;
    if (track) {
      const line = (points, closed) => {
        const path = new Path2D();
        points.forEach(([x, y], i) => path[i ? "lineTo" : "moveTo"](...this.place(x, y)));
        if (closed) path.closePath();
        return path;
      };
      c.lineJoin = "round";
      c.fillStyle = theme("road");
      const road = new Path2D();
      if (track.closed) {
        road.addPath(line(track.inner, true));
        road.addPath(line(track.outer, true));
      } else {
        road.addPath(line([...track.inner, ...[...track.outer].reverse()], true));
      }
      c.fill(road, "evenodd");
      c.strokeStyle = theme("edge");
      c.lineWidth = Math.max(0.03 * this.scale, 1.2);
      c.stroke(line(track.inner, track.closed));
      c.stroke(line(track.outer, track.closed));
      c.strokeStyle = "#f0a03c";
      c.lineWidth = Math.max(0.025 * this.scale, 1);
      c.setLineDash([0.12 * this.scale, 0.12 * this.scale]);
      c.stroke(line(track.centre, track.closed));
      c.setLineDash([]);
      this.fastest(c);
      c.strokeStyle = theme("edge");
      c.lineWidth = Math.max(0.08 * this.scale, 2.5);
      c.stroke(line([track.inner[0], track.outer[0]], false));
    }
    return picture;
  }

  // The fastest lap that the car can drive here: green where it is at full speed, red where it is slowest.
  fastest(c) {
    const points = this.laps.limit?.points ?? [];
    const speeds = points.map((point) => point[2]);
    const [low, high] = [Math.min(...speeds), Math.max(...speeds)];
    c.lineWidth = Math.max(0.02 * this.scale, 1.5);
    points.forEach(([x, y, speed], i) => {
      const [nx, ny] = points[(i + 1) % points.length];
      c.strokeStyle = `hsl(${Math.round((140 * (speed - low)) / Math.max(high - low, 0.1))} 80% 55%)`;
      c.beginPath();
      c.moveTo(...this.place(x, y));
      c.lineTo(...this.place(nx, ny));
      c.stroke();
    });
  }

  shape(c, x, y, heading, [long, wide], fill, stroke, least = 0) {
    const [px, py] = this.place(x, y);
    const grow = Math.max(1, least / (long * this.scale));
    const [l, w] = [long * this.scale * grow, wide * this.scale * grow];
    c.save();
    c.translate(px, py);
    c.rotate(-heading - this.turn);
    c.beginPath();
    c.roundRect(-l / 2, -w / 2, l, w, w * 0.3);
    c.fillStyle = fill;
    c.fill();
    c.lineWidth = 1.2;
    c.strokeStyle = stroke;
    c.stroke();
    if (long === CAR_M[0]) {
      c.fillStyle = "#0009"; // the windscreen shows which way it looks
      c.fillRect(l * 0.06, -w * 0.32, l * 0.18, w * 0.64);
    }
    c.restore();
    return [px, py];
  }

  draw(t, focus) {
    if (!this.laps || !this.canvas.width || !this.place) return;
    this.road ??= this.background();
    const c = this.context;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.canvas.width, this.canvas.height);
    c.drawImage(this.road, 0, 0);
    c.scale(this.ratio, this.ratio);
    this.places = [];
    this.objects(c, this.laps.cars[focus], t);
    const order = this.laps.cars.map((_, i) => i).filter((i) => i !== focus);
    if (focus < this.laps.cars.length) order.push(focus); // on top
    for (const i of order) this.car(c, i, t, i === focus);
  }

  // Boxes and bot cars around the chosen car: every car drives in a world of its own.
  objects(c, car, t) {
    if (!car?.objects) return;
    const row = rowAt(car, t) * car.objects;
    for (let i = row; i < row + car.objects; i++) {
      const { kind, x_m: x, y_m: y, heading_rad: heading } = car.around;
      if (kind[i]) this.shape(c, x[i], y[i], heading[i], kind[i] === 1 ? [0.3, 0.4] : CAR_M, "#c58b4e", "#000a", 8);
    }
  }

  car(c, i, t, chosen) {
    const car = this.laps.cars[i];
    const now = rowAt(car, t);
    const over = now === car.steps - 1;
    c.lineCap = c.lineJoin = "round";
    c.strokeStyle = this.colours[i];
    c.globalAlpha = chosen ? 0.95 : 0.4;
    c.lineWidth = chosen ? 2.4 : 1.6;
    const first = chosen ? 0 : rowAt(car, Math.min(t, car.clock_s[car.steps - 1]) - TRAIL_S);
    if (chosen || !over) {
      c.beginPath();
      for (let row = first; row <= now; row++) {
        const jump = row > first && Math.hypot(car.x_m[row] - car.x_m[row - 1], car.y_m[row] - car.y_m[row - 1]) > JUMP_M;
        c[row === first || jump ? "moveTo" : "lineTo"](...this.place(car.x_m[row], car.y_m[row]));
      }
      c.stroke();
    }
    c.globalAlpha = over && !chosen ? 0.35 : 1;
    const [x, y, heading] = between(car, now, t);
    const [fx, fy] = [x - 0.14 * Math.cos(heading), y - 0.14 * Math.sin(heading)]; // steps hold the front point
    const at = this.shape(c, fx, fy, heading, CAR_M, this.colours[i], chosen ? theme("text") : "#000a", LEAST_PX);
    this.places[i] = at;
    if (chosen) {
      c.beginPath();
      c.arc(at[0], at[1], Math.max(0.3 * this.scale, 14), 0, 2 * Math.PI);
      c.lineWidth = 2;
      c.strokeStyle = theme("accent");
      c.stroke();
    }
    c.globalAlpha = 1;
  }
}

function between(car, row, t) {
  const here = [car.x_m[row], car.y_m[row], car.heading_rad[row]];
  if (row + 1 >= car.steps) return here;
  const span = car.clock_s[row + 1] - car.clock_s[row];
  const [dx, dy] = [car.x_m[row + 1] - here[0], car.y_m[row + 1] - here[1]];
  if (Math.hypot(dx, dy) > JUMP_M || span > 0.2) return here;
  const part = Math.min(Math.max((t - car.clock_s[row]) / span, 0), 1);
  const turn = Math.atan2(Math.sin(car.heading_rad[row + 1] - here[2]), Math.cos(car.heading_rad[row + 1] - here[2]));
  return [here[0] + part * dx, here[1] + part * dy, here[2] + part * turn];
}

function driven(laps) {
  const points = [];
  for (const car of laps.cars) for (let i = 0; i < car.steps; i += 5) points.push([car.x_m[i], car.y_m[i]]);
  return points;
}
