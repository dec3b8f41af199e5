"""What racers take from a line: model_metadata.json, and the reward function that follows it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from contract.car import LAST_VERSION_OF_EFFORT_CARS
from contract.metadata import ContinuousActions, DiscreteActions
from contract.state import FloatArray
from undercut.line.profile import RacingLine
from undercut.runs.run import DEFAULT_METADATA

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
