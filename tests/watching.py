"""Small recorded runs and races for tests of the live view: real files, written by the code that writes them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from contract import artifacts, simtrace
from contract.config import RunConfig
from contract.metrics import (
    evaluation_metrics_json,
    evaluation_rows,
    training_evaluation_rows,
    training_metrics_json,
    training_rows,
)
from contract.params import evaluation_params
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, STEP_S, EpisodeStatus
from contract.stores.local import LocalStore
from contract.vehicle import FRONT_POINT_X_M
from simapp.tracks import load_track
from trainer.iterations import IterationRow

TRACK = "paddock"


def drive(episode: int, steps: int, speed_mps: float = 1.5, end: EpisodeStatus = EpisodeStatus.off_track) -> Rollout:
    """An episode along the centre line of TRACK, half a metre behind the one before it."""
    track = load_track(TRACK)
    along = 0.5 * episode + speed_mps * STEP_S * np.arange(1, steps + 1)
    poses = track.pose_at(along)
    rows = np.zeros(steps, STEP_DTYPE)
    rows["x_m"] = poses.x_m + FRONT_POINT_X_M * np.cos(poses.heading_rad)
    rows["y_m"] = poses.y_m + FRONT_POINT_X_M * np.sin(poses.heading_rad)
    rows["heading_rad"], rows["speed_mps"], rows["reward"] = poses.heading_rad, speed_mps, 1.0
    rows["progress_pct"] = 100.0 * (along - along[0]) / track.length_m
    rows["status"], rows["time_s"] = EpisodeStatus.in_progress, STEP_S * np.arange(1, steps + 1)
    rows["status"][-1] = end
    return Rollout(episode, 0, {}, {}, np.zeros(steps, np.int64), rows, False)


def write_run(name: str, iterations: int, cars: int = 4, steps: int = 60) -> LocalStore:
    """runs/NAME in the working directory: iterations of `cars` episodes and two laps each, and an evaluation."""
    store, config, length_m = LocalStore(Path("runs") / name), RunConfig(name=name), load_track(TRACK).length_m
    metrics, rows = [], []
    for number in range(iterations):
        training = [drive(number * cars + i, steps + i) for i in range(cars)]
        evaluation = [drive(i, 2 * steps, end=EpisodeStatus.lap_complete) for i in range(2)]
        mine = training_rows(training, 0.0)
        metrics += [*mine, *training_evaluation_rows(evaluation, 0.0, mine[-1])]
        rows.append(IterationRow(number, 100 * (number + 1), 10.0 + number, 20.0, 80.0, 1.5, -0.01, 0.5, 0.001))
        _put(store, artifacts.training_simtrace(number), simtrace.to_csv(training, length_m, 0.0))
        _put(store, artifacts.training_evaluation_simtrace(number), simtrace.to_csv(evaluation, length_m, 0.0))
    if iterations:
        _put(store, artifacts.TRAINING_METRICS, training_metrics_json(metrics, "progress"))
        _put(store, artifacts.ITERATIONS, json.dumps([asdict(row) for row in rows]))
        laps = [drive(i, 2 * steps, end=EpisodeStatus.lap_complete) for i in range(3)]
        _put(store, artifacts.evaluation_simtrace(), simtrace.to_csv(laps, length_m, 0.0))
        _put(store, artifacts.EVALUATION_METRICS, evaluation_metrics_json(evaluation_rows(laps)))
        _put(store, artifacts.EVALUATION_PARAMS, evaluation_params(config))
    _put(store, artifacts.RUN_CONFIG, config.to_json())
    return store


def write_race(name: str, racers: Sequence[str], heats: int, is_continuous: bool = False) -> LocalStore:
    """races/NAME in the working directory, as a race of a tournament leaves it."""
    store, length_m = LocalStore(Path(artifacts.race_folder(name))), load_track(TRACK).length_m
    standings = []
    for number, racer in enumerate(racers):
        laps = [drive(heat, 60 + 10 * number, end=EpisodeStatus.lap_complete) for heat in range(heats)]
        _put(store, f"{racer}/{artifacts.evaluation_simtrace()}", simtrace.to_csv(laps, length_m, 0.0))
        times = {"mean_lap_time_s": 4.0, "best_lap_time_s": None}
        standings.append(
            {
                "folder": racer,
                "racer": racer.title(),
                "run": racer,
                "total_time_s": 8.0,
                "heats_won": 1,
                "crashes": 0,
                "laps": {"laps": heats, "complete": heats, **times},
            }
        )
    result = {"track": TRACK, "reverse_dir": False, "is_continuous": is_continuous, "standings": standings}
    _put(store, "result.json", json.dumps(result))
    return store


def _put(store: LocalStore, key: str, text: str) -> None:
    store.put(key, text.encode())
