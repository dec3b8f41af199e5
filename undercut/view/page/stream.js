// The WebSocket: asks for what is watched, hands on laps and frames, and connects again when it was cut.

const AGAIN_MS = [500, 1000, 2000, 4000];

export class Stream {
  constructor({ onLaps, onFrame, onProblem, onConnection }) {
    Object.assign(this, { onLaps, onFrame, onProblem, onConnection });
    this.asked = null;
    this.failures = 0;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.frames = 0;
    socket.onopen = () => {
      this.failures = 0;
      this.onConnection("");
      this.send(this.asked);
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => {
      const why = event.code === 1008 ? event.reason : "Connection lost";
      this.onConnection(why || "Connection lost");
      const wait = AGAIN_MS[Math.min(this.failures++, AGAIN_MS.length - 1)];
      setTimeout(() => this.connect(), wait);
    };
  }

  // What to play: {kind, name, show, iteration, speed, car, paused}.
  ask(watched) {
    this.asked = watched;
    this.send(watched);
  }

  send(content) {
    if (content && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(content));
  }

  take(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const body = data.slice(4 + length);
    if (header.type === "frame") {
      this.frames += 1;
      this.send({ took: this.frames }); // what is not taken is not sent: a slow line skips frames and stays up to date
      this.onFrame(header, body);
    } else if (header.type === "laps") {
      this.onLaps(unpack(header, body));
    } else {
      this.onProblem(header.problem);
    }
  }
}

// Gives every car its columns: car.x_m[row] and so on.
function unpack(header, body) {
  const values = new Float32Array(body);
  let at = 0;
  for (const car of header.cars) {
    for (const column of header.columns) {
      car[column] = values.subarray(at, at + car.steps);
      at += car.steps;
    }
    car.around = {};
    for (const column of car.objects ? header.object_columns : []) {
      car.around[column] = values.subarray(at, at + car.steps * car.objects);
      at += car.steps * car.objects;
    }
  }
  return header;
}

// The step that a car has just done at a time since the start.
export function rowAt(car, t) {
  let low = 0;
  let high = car.steps - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (car.clock_s[middle] <= t + 1e-4) low = middle;
    else high = middle - 1;
  }
  return low;
}
