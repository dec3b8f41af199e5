"""What `undercut line` prints and writes: the points, model_metadata.json, and a reward function that follows it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from contract.car import LAST_VERSION_OF_EFFORT_CARS, Car, car_of_version
from contract.errors import InputError
from contract.metadata import ContinuousActions, DiscreteActions
from contract.state import FloatArray
from contract.stores.local import LocalStore, write_file
from simapp.tracks import Track, load_track
from undercut.line.actions import action_space, best_lap
from undercut.line.profile import RacingLine
from undercut.line.raceline import racing_line
from undercut.runs.run import DEFAULT_METADATA
from undercut.terminal import say

CARS = {"v4": 4, "v5": 5}
"""Names of the described cars, and a version of model_metadata.json that has each."""
COLUMNS = ("x", "y", "speed", "time")
"""Of the .npy file, and the first of the .csv: metres, metres, m/s, and seconds from the row before to this one, as the
racing lines have that racers share."""
MORE_COLUMNS = (*("heading", "distance", "offset", "commanded_speed", "commanded_steering", "steering", "lap_time"),)


def car_named(name: str) -> Car:
    """The described car of that name, or the one in a file; InputError when it is neither."""
    if name in CARS:
        return car_of_version(CARS[name])
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return Car.load(path)
    raise InputError("--car", name, f"{' or '.join(CARS)}, or a car file", "leave it out for the car of version 5")


def found_line(name: str, car: str, margin_m: float, wheels: str, console: Console) -> tuple[Track, RacingLine]:
    """The track of that name, and its line for that car, with what is being done shown meanwhile."""
    from undercut.runs.run import TRACKS

    with console.status("racing line") as status:
        make, track = car_named(car), load_track(name, [TRACKS])
        return track, racing_line(track, make, margin_m, wheels, lambda text: status.update(f"racing line: {text}"))


def write(name: str, car: str, margin_m: float, wheels: str, out: Path | None, console: Console) -> dict[str, Any]:
    """Find the line, leave its files, and tell it, for programs in the answer and for people on the console."""
    from undercut.figures.line_picture import line_picture

    track, line = found_line(name, car, margin_m, wheels, console)
    place = LocalStore(out or Path("lines") / track.name)
    title = f"{track.name}, {line.car.name}: {line.limit_s:.3f} s"
    place.put("line.csv", csv_of(line).encode())
    place.put("line.npy", npy_of(line))
    place.put("line.png", line_picture(track, line, title))
    files = {kind: place.where(f"line.{kind}") for kind in ("png", "csv", "npy")}
    result = facts(line) | {"files": files}
    console.print(f"[bold]{track.name}[/] {track.length_m:.2f} m, car of {line.car.name}", highlight=False)
    say(console, f"limit            {line.limit_s:8.3f} s")
    if line.replay_s is not None:
        over = 100.0 * (line.replay_s / line.limit_s - 1.0)
        inside = f", {100 * line.replay_margin_m:g} cm further inside" if line.replay_margin_m else ""
        say(console, f"driven           {line.replay_s:8.3f} s, {over:+.1f} %{inside}")
    else:
        console.print("driven           no clean lap: take the limit with doubt, or give a --margin", style="yellow")
    if line.standing_s is not None:
        over = 100.0 * (line.standing_s / line.limit_s - 1.0)
        say(console, f"from a standstill{line.standing_s:8.3f} s, {over:+.1f} %, as evaluations begin")
    say(
        console,
        f"speed            {line.speed_mps.min():8.2f} to {line.speed_mps.max():.2f} m/s, mean of the lap "
        f"{line.length_m / line.limit_s:.2f} m/s of the centre line",
    )
    for path in files.values():
        say(console, path)
    return result


def write_actions(
    name: str, car: str, margin_m: float, count: int | None, mirrored: bool, out: Path, console: Console
) -> dict[str, Any]:
    """Find the line, its action space and what that costs; write model_metadata.json whole, and tell it."""
    track, line = found_line(name, car, margin_m, "one", console)
    actions = action_space(line, count, mirrored)
    result: dict[str, Any] = {"track": track.name, "car": line.car.name, "margin_m": margin_m, "limit_s": line.limit_s}
    if isinstance(actions, DiscreteActions):
        with console.status(f"driving laps with {actions.size} actions"):
            lap = best_lap(track, line, actions)
        if lap is None:
            raise InputError(
                "--count",
                count,
                f"as many actions as a lap of {track.name} needs: all cars left the road with {actions.size}",
                f"--count {actions.size + 2} or more" + (", or without --mirrored" if mirrored else ""),
            )
        lap_s: float | None = lap.lap_s
        pairs = list(zip(actions.steering_deg.tolist(), actions.speed_mps.tolist(), strict=True))
        shares = np.bincount(lap.taken, minlength=actions.size) / len(lap.taken)
        result["actions"] = [
            {"steering_angle": steering, "speed": speed, "share": float(share)}
            for (steering, speed), share in zip(pairs, shares, strict=True)
        ]
        for (steering, speed), share in zip(pairs, shares, strict=True):
            say(console, f"{steering:+6.1f}°  {speed:4.2f} m/s  {100 * share:3.0f} % of the lap")
    else:
        lap_s = line.replay_s
        result["ranges"] = {"steering_angle": list(actions.steering_deg), "speed": list(actions.speed_mps)}
        (right, left), (slow, fast) = actions.steering_deg, actions.speed_mps
        say(console, f"steering {right:g} to {left:g} degrees, speed {slow:g} to {fast:g} m/s")
    result |= {
        "lap_s": lap_s,
        "cost_s": None if lap_s is None else lap_s - line.limit_s,
        "ratio": None if lap_s is None else lap_s / line.limit_s,
    }
    if lap_s is not None:
        cost = f"{lap_s - line.limit_s:+.3f} s, {100 * (lap_s / line.limit_s - 1):+.1f} %"
        say(console, f"limit {line.limit_s:.3f} s, best lap with these {lap_s:.3f} s ({cost})")
    write_file(out, metadata_json(actions, line).encode())
    result["file"] = str(out)
    say(console, str(out))
    return result


def facts(line: RacingLine) -> dict[str, Any]:
    """A line's figures, for programs."""
    return {
        "track": line.track,
        "length_m": line.length_m,
        "car": line.car.name,
        "margin_m": line.margin_m,
        "wheels": line.wheels,
        "limit_s": line.limit_s,
        "start_s": line.start_s,
        "replay_s": line.replay_s,
        "replay_margin_m": line.replay_margin_m,
        "replay_ratio": None if line.replay_s is None else line.replay_s / line.limit_s,
        "standing_s": line.standing_s,
        "points": len(line.x_m),
        "slowest_mps": float(line.speed_mps.min()),
        "fastest_mps": float(line.speed_mps.max()),
        "line_m": float(np.hypot(np.diff(line.x_m, append=line.x_m[0]), np.diff(line.y_m, append=line.y_m[0])).sum()),
    }


def table(line: RacingLine) -> FloatArray:
    """(N, 11) COLUMNS and MORE_COLUMNS; angles in degrees."""
    since = np.diff(line.time_s)
    return np.column_stack(
        [
            *(line.x_m, line.y_m, line.speed_mps, np.roll(since, 1)),
            *(np.degrees(line.heading_rad), line.distance_m, line.offset_m, line.command_mps),
            *(np.degrees(line.command_rad), np.degrees(line.steering_rad), line.time_s[:-1]),
        ]
    )


def csv_of(line: RacingLine) -> str:
    """The table with a header line; angles in degrees."""
    text = io.StringIO()
    np.savetxt(text, table(line), fmt="%.5f", delimiter=",", header=",".join([*COLUMNS, *MORE_COLUMNS]), comments="")
    return text.getvalue()


def npy_of(line: RacingLine) -> bytes:
    """(N, 4) of COLUMNS."""
    content = io.BytesIO()
    np.save(content, table(line)[:, : len(COLUMNS)], allow_pickle=False)
    return content.getvalue()


SPACING_M = 0.12
MAX_POINTS = 300
"""Of a literal: rewards are called 15 times a second, and read by people."""
_TEMPLATE = Path(__file__).resolve().parents[1] / "scaffold" / "templates" / "race_line.py"


def metadata_json(
    actions: DiscreteActions | ContinuousActions, line: RacingLine, pattern: Path = DEFAULT_METADATA
) -> str:
    """model_metadata.json with these actions, and all else as the pattern has it; of the version whose car it is."""
    data: dict[str, Any] = json.loads(pattern.read_text(encoding="utf-8"))
    if isinstance(actions, ContinuousActions):
        data["action_space"] = {
            key: {"low": low, "high": high}
            for key, (low, high) in (("steering_angle", actions.steering_deg), ("speed", actions.speed_mps))
        }
        data["action_space_type"] = "continuous"
    else:
        pairs = zip(actions.steering_deg.tolist(), actions.speed_mps.tolist(), strict=True)
        data["action_space"] = [
            {"steering_angle": steering, "speed": speed, "index": index}
            for index, (steering, speed) in enumerate(pairs)
        ]
    data["version"] = str(LAST_VERSION_OF_EFFORT_CARS if line.car.joints == "effort" else 5)
    return json.dumps(data, indent=2) + "\n"


def literal(line: RacingLine) -> FloatArray:
    """(M, 4) evenly spaced points of the line: x, y, commanded speed, seconds since the start line."""
    x, y = np.append(line.x_m, line.x_m[0]), np.append(line.y_m, line.y_m[0])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    count = min(max(round(along[-1] / SPACING_M), 12), MAX_POINTS)
    at = along[-1] * np.arange(count) / count
    speed = np.append(line.command_mps, line.command_mps[0])
    return np.column_stack([np.interp(at, along, values) for values in (x, y, speed, line.time_s)])


def reward_source(line: RacingLine) -> str:
    """The template's reward function with this line in it."""
    source = _TEMPLATE.read_text(encoding="utf-8")
    rows = [f"({x:.3f}, {y:.3f}, {speed:.2f}, {time:.3f})," for x, y, speed, time in literal(line).tolist()]
    lines = ["    " + " ".join(rows[k : k + 3]) for k in range(0, len(rows), 3)]
    head, _, rest = source.partition("LINE = [\n")
    _, _, tail = rest.partition("]\n")
    source = head + "LINE = [\n" + "\n".join(lines) + "\n]\n" + tail
    source = source.replace("of TRACK, at", f"of {line.track}, at")
    return source.replace("LAP_S = 4.0 ", f"LAP_S = {line.limit_s:.3f} ")
