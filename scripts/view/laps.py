"""The newest laps of a run or race: from its live session, else from its simtraces."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from contract import artifacts, simtrace
from contract.config import RaceConfig
from contract.errors import InputError
from contract.protocols import Phase
from contract.races import RACE_COLORS
from contract.state import FloatArray, IntArray, Things
from contract.vehicle import CAR_COLORS, FRONT_POINT_X_M
from scripts.live import ShownCar, ShownLaps, decode, label_of, live_laps
from scripts.runs import TRACKS
from scripts.view.subject import Subject
from simapp.things import Course
from simapp.tracks import Track, load_track

Show = Literal["newest", "training", "evaluation"]
MAX_CARS = 20
"""Cars shown at once; the page says how many more there are."""
COLUMNS = ("time_s", "x_m", "y_m", "heading_rad", "speed_mps", "steering_deg", "reward", "progress_pct", "status")


@dataclass(frozen=True, slots=True)
class Laps:
    """Cars that are played back together, on their track (None: the track is not there, and why).

    fixed    (1, M) obstacles that stand in every lap
    hidden   how many more cars there are
    """

    title: str
    phase: Phase
    cars: tuple[ShownCar, ...]
    hidden: int
    track: Track | None
    problem: str
    fixed: Things

    @property
    def duration_s(self) -> float:
        return max(float(car.steps["time_s"][-1]) for car in self.cars)

    def rows(self, time_s: float) -> IntArray:
        """(N,) the step that each car has just done at a time since the start; it stays at its last one."""
        rows = [int(np.searchsorted(car.steps["time_s"], time_s + 1e-9, "right")) - 1 for car in self.cars]
        return np.array([max(row, 0) for row in rows])

    def poses(self, rows: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """base_link's x, y and heading, (N,) each; steps hold the front point's."""
        steps = np.array([car.steps[row] for car, row in zip(self.cars, rows, strict=True)])
        heading = steps["heading_rad"]
        return (
            steps["x_m"] - FRONT_POINT_X_M * np.cos(heading),
            steps["y_m"] - FRONT_POINT_X_M * np.sin(heading),
            heading,
        )

    def columns(self) -> bytes:
        """All steps as the page takes them: car by car, COLUMNS by COLUMNS, float32 little-endian."""
        parts = []
        for car in self.cars:
            steps = car.steps
            values = [steps[name] for name in ("time_s", "x_m", "y_m", "heading_rad", "speed_mps")]
            values += [np.degrees(steps["steering_rad"]), np.cumsum(steps["reward"])]
            values += [steps["progress_pct"], steps["status"]]
            parts.append(np.stack(values).astype("<f4"))
        return b"".join(part.tobytes() for part in parts)


class LapReader:
    """Follows the laps of a run or race: `newest` reads only what it has not read yet."""

    def __init__(self, subject: Subject, show: Show, iteration: int | None) -> None:
        """`iteration` asks for one iteration's laps in place of the newest."""
        self._subject, self._show, self._iteration = subject, show, iteration
        self._seen: dict[str, object] = {}

    def newest(self) -> Laps | None:
        """Laps that are new since the last call, None when there are none. InputError when a file is broken."""
        live = self._subject.live() if self._iteration is None else None
        if live is not None:
            fresh = self._fresh_live_laps()
            if fresh is not None:
                return _on_track(fresh, live.track, live.reverse_dir, RaceConfig.model_validate(live.race))
            if any(live_laps(self._subject.kind, self._subject.name, phase).is_file() for phase in self._phases):
                return None
        return self._race_laps() if self._subject.kind == "race" else self._run_laps()

    @property
    def _phases(self) -> tuple[Phase, ...]:
        return (Phase.evaluation, Phase.training) if self._show == "newest" else (Phase(self._show),)

    def _fresh_live_laps(self) -> ShownLaps | None:
        found = []
        for phase in self._phases:
            path = live_laps(self._subject.kind, self._subject.name, phase)
            try:
                stat = path.stat()
            except OSError:
                continue
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if self._seen.get(path.name) != stamp:
                found.append((stat.st_mtime_ns, stamp, path))
        for _, stamp, path in sorted(found, reverse=True):
            try:
                data = path.read_bytes()
            except OSError:
                continue  # the session has just ended
            self._seen[path.name] = stamp
            return decode(data, str(path))
        return None

    def _run_laps(self) -> Laps | None:
        subject = self._subject
        last = subject.last_iteration() if self._iteration is None else self._iteration
        keys = {Phase.evaluation: [], Phase.training: []} if last is None else {
            Phase.evaluation: [artifacts.training_evaluation_simtrace(last)],
            Phase.training: [artifacts.training_simtrace(last)],
        }  # fmt: skip
        if self._iteration is None:
            keys[Phase.evaluation].insert(0, artifacts.evaluation_simtrace())
        for phase in self._phases:
            for key in keys[phase]:
                if subject.store.exists(key):
                    return self._trace_of_run(key, phase, last)
        return None

    def _trace_of_run(self, key: str, phase: Phase, last: int | None) -> Laps | None:
        subject = self._subject
        text = self._unread(key)
        if text is None:
            return None
        after_training = key == artifacts.evaluation_simtrace()
        config = subject.evaluation_config() if after_training else subject.config()
        colour = CAR_COLORS.index(config.car_color)
        cars = [
            ShownCar(label_of(phase, trace.episode, world), colour, world, trace.steps)
            for world, trace in enumerate(simtrace.from_csv(text, subject.where(key)))
        ]
        title = "Evaluation" if after_training else f"Iteration {last}, {phase.value}"
        return _on_track(ShownLaps(title, phase, tuple(cars)), config.track, config.reverse_dir, config.race)

    def _race_laps(self) -> Laps | None:
        if not self._subject.is_whole:
            return None
        result = self._subject.result()
        texts = []
        for standing in result.get("standings", ()):
            key = f"{standing['folder']}/{artifacts.evaluation_simtrace()}"
            text = self._unread(key)
            if text is not None:
                texts.append((standing, key, text))
        if not texts:
            return None
        params = self._subject.race_params()
        colours = list(RACE_COLORS)
        if params is not None:
            colours = [racer.car_color for racer in params.racers]
        names = [racer.title for racer in params.racers] if params is not None else []
        cars = []
        for place, (standing, key, text) in enumerate(texts):
            traces = simtrace.from_csv(text, self._subject.where(key))
            number = names.index(standing["racer"]) if standing["racer"] in names else place
            colour = CAR_COLORS.index(colours[number % len(colours)])
            if result["is_continuous"]:
                cars.append(ShownCar(standing["racer"], colour, 0, _in_a_row([trace.steps for trace in traces])))
            else:
                cars += [
                    ShownCar(f"{standing['racer']}, heat {heat + 1}", colour, heat, trace.steps)
                    for heat, trace in enumerate(traces)
                ]
        cars.sort(key=lambda car: car.world)
        race = RaceConfig() if params is None else params.race
        laps = ShownLaps(f"Race {self._subject.name}", Phase.evaluation, tuple(cars))
        return _on_track(laps, result["track"], bool(result["reverse_dir"]), race)

    def _unread(self, key: str) -> str | None:
        """The file's text, None when it is what it was at the last call."""
        text = self._subject.text(key)
        digest = hashlib.sha256(text.encode()).digest()
        if self._seen.get(key) == digest:
            return None
        self._seen[key] = digest
        return text


def _on_track(laps: ShownLaps, name: str, is_reversed: bool, race: RaceConfig) -> Laps:
    cars = tuple(car for car in laps.cars if len(car.steps))
    if not cars:
        raise InputError(laps.title, "no steps", "laps have at least one step", "drive them again")
    track, problem, fixed = None, "", Things.none(1)
    try:
        track = load_track(name, [TRACKS])
        track = track.reversed() if is_reversed else track
        fixed = Course(track, race, is_reversed).fixed()
    except InputError as error:
        problem = str(error)
    return Laps(laps.title, laps.phase, cars[:MAX_CARS], max(len(cars) - MAX_CARS, 0), track, problem, fixed)


def _in_a_row(laps: list[np.ndarray]) -> np.ndarray:
    """Laps that follow each other without a stop, on one clock."""
    joined = np.concatenate(laps)
    starts = np.cumsum([0.0, *(float(steps["time_s"][-1]) for steps in laps[:-1])])
    joined["time_s"] += np.repeat(starts, [len(steps) for steps in laps])
    return joined
