"""Files as deepracer-for-cloud, the consoles and their simulators leave them, of episodes that a real car drove."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from contract import metrics, simtrace
from contract.rollout import Rollout
from contract.state import EpisodeStatus
from contract.stores.local import LocalStore
from tests import recorded
from tests.support import circle
from undercut.analysis.files import OneFile
from undercut.analysis.loading import load_folder
from undercut.analysis.log import RunLog

LENGTH_M = circle().length_m
PER_ITERATION, ITERATIONS = 3, 2


def write(folder: Path, **files: str | bytes) -> Path:
    """Files below a folder: key, with __ for /, -> content."""
    for key, content in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def as_worker(driven: Iterable[Rollout]) -> list[Rollout]:
    """The same, counted from 0 by a worker of its own."""
    return [
        Rollout(number, it.iteration, {}, {}, it.actions, it.steps, truncated=it.truncated)
        for number, it in enumerate(driven)
    ]


def worker_files(driven: list[Rollout], worker: int, workers: int, prefix: str = "") -> dict[str, str]:
    """What deepracer-for-cloud keeps of a worker: its simtraces and its metrics, where only the first worker's trials
    begin anew with every iteration."""
    files: dict[str, str] = {}
    rows: list[metrics.TrainingRow] = []
    time_s = 31.0 + 7 * worker  # each simulator has a clock of its own
    folder = f"{prefix}{worker}/" if workers > 1 else prefix
    for iteration in range(ITERATIONS):
        its = driven[iteration * PER_ITERATION : (iteration + 1) * PER_ITERATION]
        files[f"{folder}training-simtrace/{iteration}-iteration.csv"] = simtrace.to_csv(its, LENGTH_M, time_s)
        rows += metrics.training_rows(its, time_s)
        time_s = simtrace.end_time_s(its, time_s) + 11.0
    told = [asdict(row) | ({"trial": row.episode} if worker else {}) for row in rows]
    name = "TrainingMetrics.json" if worker == 0 else f"TrainingMetrics_{worker}.json"
    content = {"metrics": told, "version": 2.0, "best_model_metric": "progress"}
    return files | {f"{prefix}metrics/{name}": json.dumps(content)}


def load(path: Path, tracks: Path | None = None) -> list[RunLog]:
    place = LocalStore(path) if path.is_dir() else OneFile(path)
    return load_folder(place, path.name.split(".")[0], [tracks] if tracks else [])


def some_episodes() -> list[Rollout]:
    """Twelve episodes, some of them whole laps."""
    return [recorded.driven(k, 0.3 if k % 3 else 0.02, start=0.05 * k) for k in range(2 * PER_ITERATION * ITERATIONS)]


def some_laps() -> list[Rollout]:
    return [recorded.driven(200 + k, 0.1 * k, resets=20) for k in range(4)]


def aws_line(rollout: Rollout, i: int, time_s: float, newest: bool = True) -> str:
    """As AWS's simulator prints a step: '%d,%d,%.4f,...' (markov's s3_metrics.py), heading and steering in degrees."""
    step = rollout.steps[i]
    status = EpisodeStatus(int(step["status"]))
    name = "prepare" if i == 0 else status.name
    form = "SIM_TRACE_LOG:%d,%d,%.4f,%.4f,%.4f,%.2f,%.2f,%s,%.4f,%s,%s,%.4f,%d,%.2f,%s,%s,%.2f"
    line = form % (
        *(rollout.episode, i + 1, step["x_m"], step["y_m"], np.degrees(step["heading_rad"])),
        *(np.degrees(step["steering_rad"]), step["speed_mps"], rollout.actions[i], step["reward"]),
        *(i == len(rollout) - 1 and status.is_over, bool(step["all_wheels_on_track"]), step["progress_pct"]),
        *(step["closest_waypoint"], LENGTH_M, round(time_s + i / 15, 3), name, step["pause_s"]),
    )
    return line + (",0" if newest else "")


def line_of_2019(rollout: Rollout, i: int, time_s: float) -> str:
    """Without a status, angles in radians, the wall clock."""
    cells = aws_line(rollout, i, 1.5e9 + time_s, newest=False).split(",")
    step = rollout.steps[i]
    cells[4:6] = [f"{step['heading_rad']:.4f}", f"{step['steering_rad']:.2f}"]
    return ",".join(cells[:15])


def lines_of(driven: Iterable[Rollout], line: Callable[[Rollout, int, float], str] = aws_line) -> list[str]:
    found, time_s = [], 20.0
    for rollout in driven:
        found += [line(rollout, i, time_s) for i in range(len(rollout))]
        time_s += rollout.time_s
    return found


HEAD = """\
[markov] starting
{'AWS_REGION': 'us-east-1', 'JOB_TYPE': '%s', 'WORLD_NAME': 'circle', 'NUM_WORKERS': '%d', 'CAR_COLOR': ['Black']}
Sensor list ['FRONT_FACING_CAMERA'], network DEEP_CONVOLUTIONAL_NETWORK_SHALLOW, simapp_version 5.0
Loaded action space from file: [{'steering_angle': -30.0, 'speed': 2.0, 'index': 0}, {'steering_angle': 30, 'speed': 2}]
Using the following hyper-parameters
{
  "batch_size": 64,
  "num_episodes_between_training": %d,
  "stack_size": 1
}
"""
DRESSES = {
    "plain": "{line}\n\n",
    "time stamps": "2024-08-14 13:25:01.123456 {line}\n",
    "ros nodes": "\x1b[32m[download_params_and_roslaunch_agent_node-1] [agent-8] {line}\x1b[0m\n",
    "docker compose": "deepracer-0-robomaker-1  | {line}\n",
    "docker compose -t": "robomaker-1  | 2024-08-14T13:25:01.123456789Z {line}\n",
    "docker swarm": "2024-08-14T13:25:01.1Z deepracer-0_robomaker.1.abc123@host    | {line}\n",
    "docker json": '{{"log":"{line}\\n","stream":"stdout","time":"2024-08-14T13:25:01Z"}}\n',
    "cloudwatch": "EVENTS\t1723641901\t{line}\t1723641902\n",
    "windows": "{line}\r\n",
}
