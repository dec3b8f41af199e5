// The page: which run is watched, what is asked of the server, and one clock for map, gauges and pictures.

import { Cars } from "./cars.js";
import { Charts } from "./charts.js";
import { byId, carColours, onTheme, say, segments } from "./dom.js";
import { keyOf, showRuns, showTables } from "./lists.js";
import { TrackMap } from "./map.js";
import { Stream } from "./stream.js";

const POLL_MS = 2000;
const state = { chosen: "", entries: [], laps: null, focus: 0, show: "newest", iteration: null, speed: 1, paused: false };
const clock = { t: 0, at: 0 }; // the server's playback time, and when it came
const arrivals = [];
const problems = { files: [], laps: "" };

const map = new TrackMap(byId("map"), choose);
const cars = new Cars(choose);
const charts = new Charts(replay);
const stream = new Stream({ onLaps, onFrame, onProblem, onConnection });
const markShow = segments(byId("show"), [["newest", "Newest"], ["training", "Training"], ["evaluation", "Evaluation"]], "newest", (show) => {
  Object.assign(state, { show, iteration: null });
  ask();
});
segments(byId("speed"), [[0.5, "½×"], [1, "1×"], [2, "2×"], [4, "4×"]], 1, (speed) => {
  state.speed = speed;
  ask();
});
byId("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  byId("pause").textContent = state.paused ? "Play" : "Pause";
  byId("pause").setAttribute("aria-pressed", String(state.paused));
  ask();
});
byId("choose").addEventListener("change", (event) => go(event.target.value));
addEventListener("hashchange", fromAddress);
document.addEventListener("visibilitychange", ask); // a page in the background costs nothing
onTheme(() => map.fit());

function go(key) {
  if (location.hash.slice(1) !== key) location.hash = key;
}

function fromAddress() {
  const key = decodeURIComponent(location.hash.slice(1));
  if (!/^(run|race)\/[\w.-]+$/.test(key) || key === state.chosen) return;
  Object.assign(state, { chosen: key, laps: null, focus: 0, iteration: null, show: "newest", tag: null });
  markShow("newest");
  map.clear();
  Object.assign(problems, { files: [], laps: "" });
  showProblems();
  byId("watched").hidden = false;
  byId("welcome").hidden = true;
  say("name", key.split("/")[1]);
  say("facts", "");
  say("laps", "–");
  byId("nothing").hidden = false;
  listRuns();
  charts.show({});
  showTables([]);
  ask();
  details();
}

function ask() {
  if (!state.chosen) return;
  const [kind, name] = state.chosen.split("/");
  const { show, iteration, speed, focus: car } = state;
  arrivals.length = 0;
  stream.ask({ kind, name, show, iteration, speed, car, paused: state.paused || document.hidden });
}

function replay(iteration) {
  state.iteration = iteration;
  state.show = state.show === "newest" ? "training" : state.show;
  markShow(null);
  ask();
  byId("map").scrollIntoView({ behavior: "smooth", block: "center" });
}

function choose(car) {
  state.focus = car;
  if (state.laps) cars.mark(car);
  ask();
}

// --- what comes over the stream ---------------------------------------------------------------------------------

function onLaps(laps) {
  const colours = carColours(laps.cars);
  state.laps = laps;
  clock.t = 0;
  map.set(laps, colours);
  cars.set(laps, colours, state.focus);
  byId("nothing").hidden = true;
  say("laps", laps.title);
}

let decoding = false;
async function onFrame(header, body) {
  if (!state.laps || header.laps !== state.laps.laps) return;
  const now = performance.now();
  Object.assign(clock, { t: header.t, at: now });
  arrivals.push(now);
  while (arrivals.length > 46) arrivals.shift();
  cars.update(header.t);
  say("clock", `${header.t.toFixed(1)} s`);
  if (decoding) return; // a slow device shows fewer pictures, and never old ones
  decoding = true;
  try {
    const pictures = [body.slice(0, header.cameras), body.slice(header.cameras)];
    const [sheet, chase] = await Promise.all(pictures.map((jpeg) => (jpeg.byteLength ? createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })) : null)));
    if (state.laps?.laps === header.laps) cars.show(sheet, chase);
    sheet?.close();
    chase?.close();
  } finally {
    decoding = false;
  }
}

function onProblem(problem) {
  problems.laps = problem;
  showProblems();
}

function onConnection(problem) {
  say("connection", problem);
  byId("connection").classList.toggle("lost", Boolean(problem));
}

function tick(now) {
  const playing = state.paused || !clock.at ? 0 : Math.min((now - clock.at) / 1000, 0.15) * state.speed;
  map.draw(clock.t + playing, state.laps ? Math.min(state.focus, state.laps.cars.length - 1) : 0);
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);

setInterval(() => {
  const span = (arrivals.at(-1) - arrivals[0]) / 1000;
  const recent = arrivals.length > 5 && performance.now() - arrivals.at(-1) < 1000;
  say("fps", recent ? `${((arrivals.length - 1) / span).toFixed(0)} fps` : "");
}, 1000);

// --- what is asked for every two seconds ------------------------------------------------------------------------

async function listRuns() {
  showRuns(state.entries, state.chosen, go);
  const live = state.entries.find((entry) => keyOf(entry) === state.chosen);
  byId("pill").hidden = !live?.live;
  say("doing", live?.live ? live.doing : "");
}

async function list() {
  const answer = await fetch("/api/runs");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  state.entries = await answer.json();
  byId("welcome").hidden = state.entries.length > 0 || Boolean(state.chosen);
  if (!state.chosen && state.entries.length) go(keyOf(state.entries[0]));
  listRuns();
}

async function details() {
  const key = state.chosen;
  if (!key) return;
  const answer = await fetch(`/api/${key}`, { headers: state.tag ? { "If-None-Match": state.tag } : {} });
  if (answer.status === 304 || key !== state.chosen) return;
  const content = await answer.json();
  problems.files = answer.ok ? content.problems : [content.error];
  showProblems();
  if (!answer.ok) return;
  state.tag = answer.headers.get("ETag");
  const race = content.kind === "race";
  const steps = content.steps ? `${content.iterations} iterations · ${content.steps.toLocaleString("en")} steps` : "";
  say("facts", [race ? "race" : "", content.track && `on ${content.track}`, steps].filter(Boolean).join(" · "));
  document.title = `${content.name} – undercut`;
  byId("curves-part").hidden = race;
  byId("show").hidden = race;
  charts.show(content.curves);
  showTables(content.tables);
}

function showProblems() {
  const all = [...problems.files, problems.laps].filter(Boolean);
  const place = byId("problems");
  place.hidden = !all.length;
  place.replaceChildren(...[...new Set(all)].map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

async function poll() {
  if (!document.hidden) {
    try {
      await list();
      await details();
    } catch (error) {
      onConnection(error instanceof TypeError ? "Connection lost" : error.message);
    }
  }
  setTimeout(poll, POLL_MS);
}

fromAddress();
poll();
