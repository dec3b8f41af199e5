"""What each frame of a video shows: a recording, moment by moment at 15 frames a second of simulated time.

A car that is alone is shown by its own clock, and cars of a race by the race's. Where rows are missing the picture
stands still as long, for HOLD_S at most; undercut's recordings until 2026-11 have no rows of the pauses of penalties.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from contract.recording import RecordedEpisode, Recording
from contract.state import BROKEN, STEP_S, EpisodeStatus, FloatArray, IntArray, ObjectKind
from contract.vehicle import CAR_COLORS, FRONT_POINT_X_M, MAX_SPEED_MPS
from simapp.scene.bodies import Bodies
from simapp.tracks import Track

FRAMES_PER_S = 15
HOLD_S = 5.0
"""Longest standstill that is shown."""
GAP_S = 0.3
"""Steps further apart than this are not joined by a drive: a reset, a pause, or rows that are missing."""
END_S = 1.2
"""The last moment of an episode stays on for this long, with how it ended."""
_JUMP_M = 3.0 * MAX_SPEED_MPS * STEP_S
_SERVO_S = 0.10
"""The steering servo's lag: simtraces have the command."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame: what stands where, and what is told about the car in focus.

    banner    what just happened to it, empty while it drives        is_cut  the camera jumps
    trail_m   (P, 2) where it has been in the last seconds
    """

    bodies: Bodies
    focus: int
    lap: int
    laps: int
    time_s: float
    speed_mps: float
    steering_rad: float
    progress_pct: float
    resets: int
    penalty_s: float
    banner: str
    is_cut: bool
    trail_m: FloatArray
    place: int = 0
    """In a race, 1 for who leads; 0 where nobody else drives."""


def moments(
    recording: Recording, track: Track, racer: int = 0, trials: Sequence[int] | None = None
) -> Iterator[Moment]:
    """All frames of a racer's video, episode by episode; `trials` (from 1) chooses among its episodes."""
    mine = [episode for episode in recording.episodes if episode.racer == racer]
    for place, episode in enumerate(mine, 1):
        if trials is not None and place not in trials:
            continue
        rivals = [
            other
            for other in recording.episodes
            if other.racer != racer and other.world == episode.world and other.ticks is not None
        ]
        yield from _shown(recording, track, _Lap(episode, place, len(mine)), rivals)


def frame_count(recording: Recording, racer: int = 0, trials: Sequence[int] | None = None) -> int:
    """How many frames `moments` gives."""
    mine = [episode for episode in recording.episodes if episode.racer == racer]
    chosen = [episode for place, episode in enumerate(mine, 1) if trials is None or place in trials]
    return sum(len(_Lap(episode, 1, 1).frames) + round(END_S * FRAMES_PER_S) for episode in chosen)


class _Lap:
    """An episode of the car in focus, prepared: columns (T,) by step, and `frames` (F,) in steps and parts of steps."""

    def __init__(self, episode: RecordedEpisode, place: int, laps: int) -> None:
        self.episode, self.place, self.laps = episode, place, laps
        steps = episode.steps
        self.x_m, self.y_m = base_link(steps)
        self.heading_rad = steps["heading_rad"]
        self.steering_rad = _servo(steps["steering_rad"])
        time_s, ticks = steps["time_s"], self.episode.ticks
        clock_s = time_s if ticks is None else ticks * STEP_S
        self.apart_s = np.diff(clock_s)
        self.moved_m = np.hypot(np.diff(self.x_m), np.diff(self.y_m))
        self.is_joined = (self.apart_s <= GAP_S) & (self.moved_m <= _JUMP_M)
        self.speed_mps = _speeds(steps["speed_mps"], self.moved_m, self.apart_s, self.is_joined)
        broken = np.isin(steps["status"], BROKEN)
        began = broken & ~np.concatenate([[False], broken[:-1]])
        # the last broken rule ends an episode and is no reset
        self.resets: IntArray = np.concatenate([[0], np.cumsum(began)[:-1]])
        shown_s = np.concatenate([[0.0], np.cumsum(np.minimum(np.maximum(self.apart_s, 0.0), HOLD_S))])
        at_s = np.arange(math.floor(shown_s[-1] * FRAMES_PER_S + 1e-6) + 1) / FRAMES_PER_S
        step = np.clip(np.searchsorted(shown_s, at_s + 1e-4, side="right") - 1, 0, len(steps) - 1)
        after = np.minimum(step + 1, len(steps) - 1)
        lasts_s = shown_s[after] - shown_s[step]
        share = np.where(lasts_s > 0.0, (at_s - shown_s[step]) / np.where(lasts_s > 0.0, lasts_s, 1.0), 0.0)
        share[np.abs(share) < 1e-2] = 0.0
        paused = steps["status"] == EpisodeStatus.pause
        self.penalty_s: FloatArray = np.cumsum(paused) * STEP_S
        last_broken = np.maximum.accumulate(np.where(broken, np.arange(len(steps)), -1))
        self.why = [
            EpisodeStatus(int(steps["status"][last])).title if pause and last >= 0 else ""
            for pause, last in zip(paused.tolist(), last_broken.tolist(), strict=True)
        ]
        """What a pause is the penalty for, (T,); empty while the car drives."""
        self.frames: FloatArray = step + np.clip(share, 0.0, 1.0 - 1e-9)
        self.shown_s: FloatArray = shown_s

    @property
    def is_over(self) -> bool:
        return EpisodeStatus(int(self.episode.steps["status"][-1])).is_over


def _shown(recording: Recording, track: Track, lap: _Lap, rivals: Sequence[RecordedEpisode]) -> Iterator[Moment]:
    steps, frames = lap.episode.steps, lap.frames
    ending = [frames[-1]] * round(END_S * FRAMES_PER_S)
    others = [_Rival(recording, other) for other in rivals]
    standing = [_progress(recording, other) for other in sorted(rivals, key=lambda other: other.number)]
    trail: list[tuple[float, float]] = []
    was = -1.0
    for n, at in enumerate([*frames.tolist(), *ending]):
        step, share = int(at), at - int(at)
        is_last = n >= len(frames)
        after = min(step + 1, len(steps) - 1)
        joined = step < len(lap.is_joined) and bool(lap.is_joined[step])
        x, y, heading, steering = (
            float(values[step]) for values in (lap.x_m, lap.y_m, lap.heading_rad, lap.steering_rad)
        )
        time_s, speed = float(steps["time_s"][step]), float(lap.speed_mps[step])
        banner = f"{lap.why[step]}  {float(steps['pause_s'][step]):.1f} s" if lap.why[step] else ""
        if joined:
            x, y = x + share * (float(lap.x_m[after]) - x), y + share * (float(lap.y_m[after]) - y)
            heading += share * _turn(heading, float(lap.heading_rad[after]))
            steering += share * (float(lap.steering_rad[after]) - steering)
            time_s += share * float(steps["time_s"][after] - steps["time_s"][step])
        elif after > step:
            stop_s = float(lap.shown_s[after] - lap.shown_s[step])
            banner, moved_to = _interrupted(lap, step, after, share * stop_s, stop_s)
            speed = 0.0
            time_s += share * float(steps["time_s"][after] - steps["time_s"][step])
            if moved_to is not None:
                x, y, heading, steering = moved_to
        if is_last:
            banner, speed = _ending(steps), 0.0 if lap.is_over else speed
        if trail and math.hypot(x - trail[-1][0], y - trail[-1][1]) > _JUMP_M:
            trail.clear()
        is_cut = not trail
        trail.append((x, y))
        del trail[: -round(2.5 * FRAMES_PER_S)]
        tick = None if lap.episode.ticks is None else _tick(lap, step, share)
        own = Bodies.cars([x], [y], [heading], [steering], [_colour(recording, lap.episode.racer)])
        bodies = _with_objects(own, lap.episode, step)
        for other in others:
            found = None if tick is None else other.at(tick)
            bodies = bodies if found is None else bodies.beside(found)
        progress = float(steps["progress_pct"][step])
        yield Moment(
            bodies=bodies,
            focus=0,
            lap=lap.place,
            laps=lap.laps,
            time_s=time_s,
            speed_mps=speed,
            steering_rad=steering,
            progress_pct=progress,
            resets=int(lap.resets[step]),
            penalty_s=float(lap.penalty_s[step]),
            banner=banner,
            is_cut=is_cut or at < was,
            trail_m=np.array(trail),
            place=_place(lap.episode.number * 100.0 + progress, standing, tick),
        )
        was = at


def _interrupted(
    lap: _Lap, step: int, after: int, since_s: float, lasts_s: float
) -> tuple[str, tuple[float, float, float, float] | None]:
    """Between two steps that no drive joins: what is told, and where the car stands if not where it stopped."""
    status = EpisodeStatus(int(lap.episode.steps["status"][step]))
    banner = status.title if status in BROKEN else ""
    if since_s < 0.5 * lasts_s:
        return banner, None
    there = (lap.x_m, lap.y_m, lap.heading_rad)
    return banner, (float(there[0][after]), float(there[1][after]), float(there[2][after]), 0.0)


def _ending(steps: np.ndarray) -> str:
    status = EpisodeStatus(int(steps["status"][-1]))
    if status is EpisodeStatus.lap_complete:
        return f"Lap complete  {steps['time_s'][-1]:.3f} s"
    return status.title if status.is_over else ""


class _Rival:
    """Another car of the world, by the race's clock."""

    def __init__(self, recording: Recording, episode: RecordedEpisode) -> None:
        assert episode.ticks is not None
        self._ticks, self._steps = episode.ticks, episode.steps
        self._x_m, self._y_m = base_link(episode.steps)
        self._steering_rad = _servo(episode.steps["steering_rad"])
        self._colour = _colour(recording, episode.racer)

    def at(self, tick: int) -> Bodies | None:
        """It at that moment; None before its episode and after it."""
        if not self._ticks[0] <= tick <= self._ticks[-1]:
            return None
        step = int(np.searchsorted(self._ticks, tick, side="right")) - 1
        heading = self._steps["heading_rad"][step]
        return Bodies.cars([self._x_m[step]], [self._y_m[step]], [heading], [self._steering_rad[step]], [self._colour])


def _tick(lap: _Lap, step: int, share: float) -> int:
    assert lap.episode.ticks is not None
    after = min(step + 1, len(lap.episode.ticks) - 1)
    first, last = int(lap.episode.ticks[step]), int(lap.episode.ticks[after])
    return first + int(share * (last - first) + 1e-6)


def _progress(recording: Recording, episode: RecordedEpisode) -> tuple[int, IntArray, FloatArray]:
    """A rival's laps in hundreds and progress, by tick, to say who leads."""
    assert episode.ticks is not None
    return episode.racer, episode.ticks, episode.number * 100.0 + episode.steps["progress_pct"]


def _place(own: float, standing: Sequence[tuple[int, IntArray, FloatArray]], tick: int | None) -> int:
    if tick is None or not standing:
        return 0
    best: dict[int, float] = {}
    for racer, ticks, progress in standing:
        if tick >= ticks[0]:
            step = min(int(np.searchsorted(ticks, tick, side="right")) - 1, len(progress) - 1)
            best[racer] = max(best.get(racer, -1.0), float(progress[step]))
    return 1 + sum(other > own for other in best.values())


def _with_objects(own: Bodies, episode: RecordedEpisode, step: int) -> Bodies:
    if episode.objects is None:
        return own
    objects = Bodies.of_objects(episode.objects, step)
    return own.beside(objects) if (objects.kind != ObjectKind.nothing).any() else own


def _colour(recording: Recording, racer: int) -> int:
    return CAR_COLORS.index(recording.racers[racer].color)


def base_link(steps: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """x, y (T,) of the cars' middles; steps have those of their front points."""
    heading = steps["heading_rad"]
    return steps["x_m"] - FRONT_POINT_X_M * np.cos(heading), steps["y_m"] - FRONT_POINT_X_M * np.sin(heading)


def _servo(commands_rad: FloatArray) -> FloatArray:
    """Steering angles (T,) that follow the commands."""
    share = 1.0 - math.exp(-STEP_S / _SERVO_S)
    angles, angle = np.empty(len(commands_rad)), 0.0
    for i, command in enumerate(commands_rad.tolist()):
        angle += share * (command - angle)
        angles[i] = angle
    return angles


def _speeds(commanded: FloatArray, moved_m: FloatArray, apart_s: FloatArray, joined: np.ndarray) -> FloatArray:
    """Speed at each step (T,): driven since the step before where that is known, else the command; medians of three."""
    driven = np.where(joined & (apart_s > 0.0), moved_m / np.where(apart_s > 0.0, apart_s, 1.0), np.nan)
    speeds = np.concatenate([driven[:1] if len(driven) else commanded[:1], driven])
    speeds = np.where(np.isnan(speeds), 0.0 if len(driven) else commanded, speeds)
    padded = np.concatenate([speeds[:1], speeds, speeds[-1:]])
    return np.asarray(np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0))


def _turn(one_rad: float, two_rad: float) -> float:
    """From one heading to another, the short way round."""
    return (two_rad - one_rad + math.pi) % (2.0 * math.pi) - math.pi
