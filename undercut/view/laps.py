"""The newest laps of a run or race: from its live session, else from its recordings and simtraces."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from contract import artifacts, simtrace
from contract.car import car_of_version
from contract.config import RunConfig
from contract.errors import InputError
from contract.metadata import ModelMetadata
from contract.protocols import Phase, Place
from contract.recording import RecordedEpisode, RecordedRacer, Recording, of_traces
from contract.state import STEP_S, FloatArray, IntArray, TrackObjects
from contract.vehicle import CAR_COLORS, FRONT_POINT_X_M
from simapp.objects import Course
from simapp.tracks import Track
from undercut.analysis.limit import Limit
from undercut.line.limits import kept_limit
from undercut.races.params import RACE_COLORS
from undercut.runs.live import live_folder, live_recording
from undercut.runs.run import track_of
from undercut.view.subject import RECORDING, Subject

Show = Literal["newest", "training", "evaluation"]
MAX_CARS = 20
"""Cars shown at once; the page says how many more there are."""
COLUMNS = (
    "clock_s",
    "x_m",
    "y_m",
    "heading_rad",
    "speed_mps",
    "steering_deg",
    "reward",
    "progress_pct",
    "status",
    "time_s",
)
OBJECT_COLUMNS = ("kind", "x_m", "y_m", "heading_rad")


@dataclass(frozen=True, slots=True)
class ShownCar:
    """A car of T steps that is played back.

    colour   index into CAR_COLORS          world   cars of one world meet each other
    clock_s  (T,) when each step is shown: cars of a world have one clock
    objects   (T, M) what stands and drives around it besides other cars; None: nothing
    """

    label: str
    colour: int
    world: int
    steps: np.ndarray
    clock_s: FloatArray
    objects: TrackObjects | None

    def columns(self) -> bytes:
        """All steps as the page takes them: COLUMNS (T,), then OBJECT_COLUMNS (T, M), float32 little-endian."""
        steps = self.steps
        values = {
            "clock_s": self.clock_s,
            "steering_deg": np.degrees(steps["steering_rad"]),
            "reward": np.cumsum(steps["reward"]),
        }
        parts = [values[name] if name in values else steps[name] for name in COLUMNS]
        if self.objects is not None:
            parts += [getattr(self.objects, name) for name in OBJECT_COLUMNS]
        return b"".join(np.ascontiguousarray(part, "<f4").tobytes() for part in parts)


@dataclass(frozen=True, slots=True)
class Laps:
    """Cars that are played back together, on their track (None: it is not there, `problem` says why).

    `hidden` is how many more cars there are; `limit` is the fastest lap that a run's car can drive here, where
    `undercut line` has found it.
    """

    title: str
    phase: Phase
    cars: tuple[ShownCar, ...]
    hidden: int
    track: Track | None
    problem: str
    limit: Limit | None = None

    @property
    def duration_s(self) -> float:
        return max(float(car.clock_s[-1]) for car in self.cars)

    def rows(self, time_s: float) -> IntArray:
        """(N,) the step that each car has just done at a time since the start; it stays at its last one."""
        rows = [int(np.searchsorted(car.clock_s, time_s + 1e-4, "right")) - 1 for car in self.cars]
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


class LapReader:
    """Follows the laps of a run or race: `newest` reads only what it has not read yet."""

    def __init__(self, subject: Subject, show: Show, iteration: int | None) -> None:
        """`iteration` asks for one iteration's laps in place of the newest."""
        self._subject, self._show, self._iteration = subject, show, iteration
        self._seen: dict[str, object] = {}
        self._turns: list[Laps] = []

    def newest(self) -> Laps | None:
        """Laps that are new since the last call, None when there are none. InputError when a file is broken.

        A training in several worlds has laps in each, which are given in turn.
        """
        fresh = self._read()
        if fresh:
            self._turns = fresh
        elif len(self._turns) > 1:
            self._turns = [*self._turns[1:], self._turns[0]]
        else:
            return None
        return self._turns[0]

    def _read(self) -> list[Laps]:
        subject = self._subject
        live = subject.live() if self._iteration is None else None
        if live is not None:
            folder = live_folder(subject.kind, subject.name)
            config = RunConfig.build(live.config, str(folder))
            config = config if live.kind == "training" else _evaluated(config)
            for phase, data, where in self._live_files():
                return _laps(Recording.from_bytes(data, where), phase, config, subject.store)
            if any(live_recording(folder, phase).is_file() for phase in self._phases):
                return []
        return self._race_laps() if subject.kind == "race" else self._run_laps()

    @property
    def _phases(self) -> tuple[Phase, ...]:
        return (Phase.evaluation, Phase.training) if self._show == "newest" else (Phase(self._show),)

    def _live_files(self) -> list[tuple[Phase, bytes, str]]:
        """The newest file of the session that was not read yet, if there is one."""
        found: list[tuple[int, Phase]] = []
        folder = live_folder(self._subject.kind, self._subject.name)
        for phase in self._phases:
            try:
                changed_ns = live_recording(folder, phase).stat().st_mtime_ns
            except OSError:
                continue
            if self._seen.get(phase) != changed_ns:
                found.append((changed_ns, phase))
        if not found:
            return []
        changed_ns, phase = max(found)
        path = live_recording(folder, phase)
        try:
            data = path.read_bytes()
        except OSError:
            return []  # the session has just ended
        self._seen[phase] = changed_ns
        return [(phase, data, str(path))]

    def _run_laps(self) -> list[Laps]:
        subject, iteration = self._subject, self._iteration
        for phase in self._phases:
            if phase == Phase.evaluation and iteration is None:
                for key in (artifacts.evaluation_recording(), artifacts.evaluation_simtrace()):
                    if subject.store.exists(key):
                        return self._of_run(key, "Evaluation", phase)
            last = subject.last_iteration() if iteration is None else iteration
            if last is not None:
                training = phase == Phase.training
                key = (artifacts.training_simtrace if training else artifacts.training_evaluation_simtrace)(last)
                if subject.store.exists(key):
                    return self._of_run(key, f"Iteration {last}, {phase.value}", phase)
        return []

    def _of_run(self, key: str, title: str, phase: Phase) -> list[Laps]:
        subject = self._subject
        data = self._unread(key)
        if data is None:
            return []
        config = _evaluated(subject.evaluation_config()) if title == "Evaluation" else subject.config()
        if key.endswith(".rec"):
            recording = Recording.from_bytes(data, subject.where(key))
        else:
            racers = (RecordedRacer(config.name, config.name, config.car_color),)
            episodes = tuple(of_traces(simtrace.from_csv(subject.text(key), subject.where(key))))
            recording = Recording(title, config.track, config.reverse_dir, 0.0, racers, episodes)
        return _laps(dataclasses.replace(recording, title=title), phase, config, subject.store)

    def _race_laps(self) -> list[Laps]:
        subject = self._subject
        if not subject.is_whole:
            return []
        if subject.store.exists(RECORDING):
            data = self._unread(RECORDING)
            recording = None if data is None else Recording.from_bytes(data, subject.where(RECORDING))
        else:
            recording = self._race_traces(subject.result())
        if recording is None:
            return []
        params = subject.race_params()
        config = RunConfig(name=subject.name, track=recording.track, reverse_dir=recording.reverse_dir)
        config = config if params is None else config.model_copy(update={"race": params.race})
        recording = dataclasses.replace(recording, title=f"Race {subject.name}")
        return _laps(recording, Phase.evaluation, config, subject.store)

    def _race_traces(self, result: dict[str, Any]) -> Recording | None:
        """Put together from the racers' simtraces, each on its own clock."""
        racers, episodes, is_new = [], [], False
        for number, standing in enumerate(result.get("standings", ())):
            key = f"{standing['folder']}/{artifacts.evaluation_simtrace()}"
            is_new = self._unread(key) is not None or is_new
            racers.append(RecordedRacer(standing["racer"], standing["run"], RACE_COLORS[number % len(RACE_COLORS)]))
            for heat, trace in enumerate(simtrace.from_csv(self._subject.text(key), self._subject.where(key))):
                world = 0 if result["is_continuous"] else heat
                episodes.append(RecordedEpisode(number, world, trace.episode, trace.steps))
        if not is_new:
            return None
        return Recording("", result["track"], bool(result["reverse_dir"]), 0.0, tuple(racers), tuple(episodes))

    def _unread(self, key: str) -> bytes | None:
        """The file, None when it is what it was at the last call."""
        data = self._subject.data(key)
        digest = hashlib.sha256(data).digest()
        if self._seen.get(key) == digest:
            return None
        self._seen[key] = digest
        return data


def _evaluated(config: RunConfig) -> RunConfig:
    """Evaluations of a trained model are driven in the run's own world."""
    return config.model_copy(update={"worlds": ()})


def _laps(recording: Recording, phase: Phase, config: RunConfig, store: Place) -> list[Laps]:
    """The laps in each world of the config: which one an episode drives in follows from its number."""
    worlds = config.each_world()
    found = []
    for number, world in enumerate(worlds):
        episodes = tuple(one for one in recording.episodes if len(worlds) == 1 or one.number % len(worlds) == number)
        track, problem, standing = None, "", TrackObjects.none(1)
        try:
            track = track_of(store, world.track)
            track = track.reversed() if world.reverse_dir else track
            standing = Course(track, world.race, world.reverse_dir).fixed()
        except InputError as error:
            problem = str(error)
        cars = _cars(dataclasses.replace(recording, episodes=episodes), phase, standing)
        title = recording.title + (f", world {number + 1} of {len(worlds)}" if len(worlds) > 1 else "")
        if cars:
            limit = None if track is None else limit_here(store, world, track)
            hidden = max(len(cars) - MAX_CARS, 0)
            found.append(Laps(title, phase, cars[:MAX_CARS], hidden, track, problem, limit))
    if not found:
        raise InputError(recording.title, "no steps", "laps have at least one step", "drive them again")
    return found


def limit_here(store: Place, config: RunConfig, track: Track) -> Limit | None:
    """The limit of a run's car on the track, as it is driven; None where nobody has asked for it, and of a race, whose
    cars differ."""
    try:
        version = ModelMetadata.parse(store.get(artifacts.MODEL_METADATA).decode(), strict=False).version
    except (KeyError, ValueError, InputError):
        return None
    return kept_limit(track, config.car or car_of_version(version))


def _cars(recording: Recording, phase: Phase, standing: TrackObjects) -> tuple[ShownCar, ...]:
    """In a race, a racer's laps of a world follow each other in one car; elsewhere every episode has its own."""
    is_race = len(recording.racers) > 1
    groups: dict[tuple[int, int, int], list[RecordedEpisode]] = {}
    for place, episode in enumerate(recording.episodes):
        if len(episode.steps):
            key = (episode.world, episode.racer, 0) if is_race else (episode.world, 0, place)
            groups.setdefault(key, []).append(episode)
    worlds = {world for world, _, _ in groups}
    cars: list[ShownCar] = []
    for (world, number, _), episodes in sorted(groups.items()) if is_race else groups.items():
        racer = recording.racers[number]
        if is_race:
            heat = sorted(worlds).index(world) + 1
            label = racer.title if len(worlds) == 1 else f"{racer.title}, heat {heat}"
        else:
            training = phase == Phase.training
            label = f"episode {episodes[0].number}" if training else f"lap {len(cars) + 1}"
        cars.append(_car(label, CAR_COLORS.index(racer.color), world, episodes, standing))
    return tuple(cars)


def _car(label: str, colour: int, world: int, laps: Sequence[RecordedEpisode], standing: TrackObjects) -> ShownCar:
    steps = np.concatenate([lap.steps for lap in laps])
    begins = np.cumsum([0.0, *(float(lap.steps["time_s"][-1]) for lap in laps[:-1])])
    clocks = [
        start_s + lap.steps["time_s"] if lap.ticks is None else STEP_S * lap.ticks
        for start_s, lap in zip(begins, laps, strict=True)
    ]
    recorded = [lap.objects for lap in laps if lap.objects is not None]
    objects = None
    if len(recorded) == len(laps):
        objects = TrackObjects(
            *(np.concatenate([getattr(one, name) for one in recorded]) for name in TrackObjects.__slots__)
        )
    elif standing.kind.any():
        objects = standing.of(np.zeros(len(steps), np.int64))
    return ShownCar(
        label, colour, world, steps, np.concatenate(clocks), objects if objects and objects.places else None
    )
