// prevent_zig_zag in JavaScript, with a memory of its own for every car.
import { createInterface } from "node:readline";

const lastSteering = new Map(); // car -> degrees, as long as the training runs

function rewardFunction(car, params) {
  const share = params.distance_from_center / params.track_width;
  let reward = share <= 0.1 ? 1 : share <= 0.25 ? 0.5 : share <= 0.5 ? 0.1 : 1e-3;
  if (params.steps > 1 && Math.abs(params.steering_angle - (lastSteering.get(car) ?? 0)) > 15) {
    reward *= 0.8;
  }
  lastSteering.set(car, params.steering_angle);
  return reward;
}

let waypoints = [];
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  waypoints = request.waypoints ?? waypoints; // only when they have changed
  const rewards = request.params.map((params, k) => rewardFunction(request.cars[k], params));
  console.log(JSON.stringify({ id: request.id, rewards }));
}
