"""What a simulated lap says of a reward function: failures, speed, scale, and what it pays for."""

import itertools
import statistics
from pathlib import Path

import numpy as np

from contract.errors import InputError
from contract.fields import suggestion
from contract.state import EpisodeStatus
from simapp.reward import shown_params
from undercut.check.finding import CheckFinding, Level
from undercut.check.lap import Trial, TrialDrive

SLOW_S = 0.001
"""A thousand calls a second a core: below what a simulator that drives for hours costs at AWS, and far below ours."""
LARGE, SMALL = 1_000.0, 1e-4
"""Typical rewards a step beyond these make a bad scale for the network that has to foresee their sums."""
LAPS_AT_ONCE = 3.0
"""One step's reward that is worth more than so many laps of ordinary ones drowns them."""
CHATTY_LINES = 5
OBJECTS = ("objects_", "closest_objects", "object_in_camera")
FIXES = {
    "UnboundLocalError": "a function that changes a name of the file says so: global NAME, in its first line",
    "ZeroDivisionError": "look at the divisor first: max(divisor, 1e-6), or an if",
    "IndexError": "take the index modulo the length: waypoints[i % len(waypoints)]",
    "TimeoutError": "look for a while whose condition never becomes false",
}
NO_OBJECTS = "a time trial has no objects: return early if not params['objects_location']"


def check_drives(trial: Trial, path: Path, has_objects: bool, reported: set[str]) -> list[CheckFinding]:
    """The findings of a trial. `has_objects` says that the race has obstacles, bots or rivals; `reported` are keys that
    are no params and were found without driving."""
    what = str(path)
    failed = [drive for drive in trial.drives if drive.failure]
    if failed:
        return [_failure(drive, what, has_objects) for drive in _different(failed)]
    rewards = np.array([reward for drive in trial.drives for reward in drive.rewards])
    found = [
        *_speed(trial, what),
        *_reads(trial, what, reported),
        *_scale(trial, what, rewards),
        *_incentives(trial, what, has_objects),
        *_habits(trial, what, rewards),
    ]
    return found


def _different(failed: list[TrialDrive]) -> list[TrialDrive]:
    """One drive for each failing line."""
    seen: dict[str, TrialDrive] = {}
    for drive in failed:
        seen.setdefault(drive.failure.splitlines()[0].split(": ")[0], drive)
    return list(seen.values())


def _failure(drive: TrialDrive, what: str, has_objects: bool) -> CheckFinding:
    step = len(drive.params)
    lines = drive.failure.splitlines()
    fix = next((line.split("fix:", 1)[1].strip() for line in lines if line.strip().startswith("fix:")), "")
    rule = next((line.strip() for line in lines if line.strip().startswith("rule:")), "")
    head, cause = lines[0], _cause(lines)
    kept = [head, *([rule] if "returned" in head else []), *cause]
    text = f"fails on the drive {drive.name!r}, step {step}\n" + "\n".join(kept)
    kind = next((name for name in FIXES if f": {name}: " in head), None)
    if kind is not None:
        of_objects = kind == "IndexError" and any("object" in line for line in cause)
        fix = NO_OBJECTS if of_objects and not drive.params[-1]["objects_location"] else FIXES[kind]
    only_with_objects = drive.name == "into a box" and not has_objects
    if only_with_objects:
        fix += "; only in races with obstacles or other cars"
    return CheckFinding("warn" if only_with_objects else "fail", what, text, fix, shown_params(drive.params[-1]))


def _cause(lines: list[str]) -> list[str]:
    """The racer's frames of a traceback: file and line, and the line itself."""
    cause = []
    for line, after in itertools.pairwise(lines):
        if line.startswith("  File ") and str(Path(__file__).parent) not in line:
            cause += [line, after]
    return cause


def _speed(trial: Trial, what: str) -> list[CheckFinding]:
    if trial.again is None or not trial.seconds:
        return [CheckFinding("warn", what, "fails when a second copy of it runs", "keep no files or locks open")]
    typical, slowest = statistics.median(trial.seconds), max(trial.seconds)
    took = f"{1e6 * typical:.3g} µs a call (median of {len(trial.seconds)}, slowest {1e3 * slowest:.1f} ms)"
    if typical > SLOW_S:
        fix = "do what stays the same once, at the top of the file; it is called for every car and step"
        return [
            CheckFinding("warn", what, f"{took}: training drives at most {1 / typical:.0f} car-steps a second", fix)
        ]
    return [CheckFinding("ok", what, took)]


def _reads(trial: Trial, what: str, reported: set[str]) -> list[CheckFinding]:
    found, known = [], trial.drives[0].params[0]
    if not trial.read:
        found.append(
            CheckFinding("warn", what, "reads none of the params", "a reward depends on what the car does: read params")
        )
    else:
        is_all = trial.read >= set(known)
        found.append(
            CheckFinding("ok", what, "takes all params" if is_all else f"reads {', '.join(sorted(trial.read))}")
        )
    for key in sorted(trial.absent - reported):
        fix = suggestion(key, known, "take it out")
        found.append(CheckFinding("warn", what, f"asks for {key!r}, which is no param", fix))
    if "heading" in trial.read and not trial.read & {"waypoints", "closest_waypoints", "x", "y"}:
        text = (
            "reads heading and no waypoints: the same heading is right on one side of the track and wrong on the other"
        )
        found.append(
            CheckFinding("warn", what, text, "compare heading with the direction from one waypoint to the next")
        )
    if "waypoints" in trial.read and not trial.read & {
        "closest_waypoints",
        "x",
        "y",
        "progress",
        "projection_distance",
    }:
        text = "reads waypoints, but not where the car is"
        found.append(CheckFinding("note", what, text, "closest_waypoints are the indices of those behind and ahead"))
    return found


def _lap(trial: Trial) -> TrialDrive:
    """The drive that shows what a lap pays: the one by hand, where the racer's actions did not make a whole one."""
    laps = [drive for drive in trial.drives if drive.name.startswith("lap")]
    return next((drive for drive in laps if drive.status == EpisodeStatus.lap_complete), laps[0])


def _scale(trial: Trial, what: str, rewards: np.ndarray) -> list[CheckFinding]:
    low, high = float(rewards.min()), float(rewards.max())
    if low == high:
        text = f"returns {low:g} whatever the car does: there is nothing to learn"
        return [CheckFinding("warn", what, text, "return more for what you want and less for what you do not want")]
    drive = _lap(trial)
    lap = np.array(drive.rewards)
    driven = "a lap" if drive.status == EpisodeStatus.lap_complete else "an unfinished lap"
    text = f"rewards from {low:.4g} to {high:.4g}; {lap.sum():.4g} for {driven} of {len(lap)} steps"
    found = [CheckFinding("ok", what, text)]
    typical = float(np.median(np.abs(lap)))
    if high <= 0.0:
        text = "no reward is above 0: the shorter an episode, the better, so the car learns to leave the road"
        found.append(CheckFinding("warn", what, text, "add a constant, so that a good step is worth more than none"))
    elif float(lap.mean()) < 0.0:
        text = f"a clean lap costs {-lap.sum():.4g}: an early end is worth more"
        found.append(CheckFinding("warn", what, text, "a good step has to be worth more than 0"))
    if typical > LARGE:
        text = f"a typical step is worth {typical:.4g}: the value network learns such sums slowly"
        found.append(
            CheckFinding("warn", what, text, "divide all rewards by one number, so that a step is worth about 1")
        )
    elif 0.0 < typical < SMALL:
        text = f"a typical step of a clean lap is worth {typical:.4g}"
        found.append(
            CheckFinding("warn", what, text, "multiply all rewards by one number, so that a step is worth about 1")
        )
    biggest, ordinary = float(np.abs(rewards).max()), float(np.abs(np.sort(np.abs(lap))[:-2]).sum())
    if ordinary > 0.0 and biggest > LAPS_AT_ONCE * ordinary:
        text = f"one step is worth {biggest:.4g}, all others of a lap together {ordinary:.4g}"
        fix = "bring them nearer together: what is worth little beside a bonus is not learned"
        found.append(CheckFinding("warn", what, text, fix))
    return found


def _incentives(trial: Trial, what: str, has_objects: bool) -> list[CheckFinding]:
    """Whether bad moments pay as much as good ones."""
    found: list[CheckFinding] = []
    paid = [reward for drive in trial.drives for reward in drive.rewards]
    if min(paid) == max(paid):
        return found
    lap = float(np.mean(_lap(trial).rewards))
    moments = (
        ("off the road", EpisodeStatus.off_track, "leaves the road", "all_wheels_on_track or is_offtrack"),
        ("into a box", EpisodeStatus.crashed, "crashes", "is_crashed, or the distance to closest_objects"),
    )
    for name, status, doing, read in moments:
        drive = trial.named(name)
        if drive.status != status or lap <= 0.0 or (name == "into a box" and not has_objects):
            continue
        if drive.rewards[-1] >= lap:
            text = f"the step at which the car {doing} pays {drive.rewards[-1]:.4g}, a step of a clean lap {lap:.4g}"
            found.append(CheckFinding("warn", what, text, f"pay next to nothing there: read {read}"))
    wrong = trial.named("wrong way")
    if lap > 0.0 and len(wrong.rewards) > 2 and float(np.mean(wrong.rewards[2:])) > 1.5 * lap:
        text = f"driving the wrong way pays {np.mean(wrong.rewards[2:]):.4g} a step, a clean lap {lap:.4g}"
        found.append(CheckFinding("warn", what, text, "compare heading with the direction of the waypoints"))
    copies_all = trial.read >= set(trial.drives[0].params[0])
    if not has_objects and not copies_all and any(key.startswith(OBJECTS) for key in trial.read):
        text = "reads what there is only in races with obstacles or other cars, and this is a time trial"
        found.append(
            CheckFinding("note", what, text, "train with --obstacles or --bots, or give the file with --params")
        )
    return found


def _habits(trial: Trial, what: str, rewards: np.ndarray) -> list[CheckFinding]:
    found = []
    lines = sum(len(drive.printed.splitlines()) for drive in trial.drives)
    if lines:
        rate = f"prints {lines} lines in {len(rewards)} calls"
        level: Level = "warn" if lines > CHATTY_LINES else "note"
        found.append(CheckFinding(level, what, rate, "take print out before training: it slows every step"))
    if trial.again is not None and not np.array_equal(rewards, np.array(trial.again)):
        text = "a second copy returns other rewards for the same params"
        fix = "random or the clock decides: seed it, for example random.Random(1), if runs should repeat"
        found.append(CheckFinding("note", what, text, fix))
    return found


def refusal(error: InputError) -> CheckFinding:
    """An InputError as a finding."""
    shown = str(error).splitlines()[0]
    return CheckFinding("fail", error.where, f"{shown.removeprefix(error.where + ': ')}\nrule: {error.rule}", error.fix)


def doubt(text: str, path: str) -> CheckFinding:
    """An InputWarning of a file as a finding."""
    message = text.removeprefix(path).lstrip(",: ")
    return CheckFinding("warn", path, message)
