"""A run's files as training leaves them, quickly: a real car under the real rules on a round track, and no network."""

import json
from functools import cache
from pathlib import Path

import numpy as np

from contract import artifacts, metrics, simtrace
from contract.config import RunConfig
from contract.rollout import Rollout
from contract.state import Controls, FloatArray
from contract.stores.local import LocalStore
from simapp.race import Race, RaceRules, Reward
from tests.support import BlindSimulator, circle, keep_lane

STEERING_DEG = (-30.0, -15.0, 0.0, 15.0, 30.0)
ITERATIONS, EPISODES, CHECKS, LAPS = 3, 6, 2, 3
METADATA = json.dumps(
    {
        "action_space": [{"steering_angle": it, "speed": 2.0} for it in STEERING_DEG],
        "sensor": ["FRONT_FACING_CAMERA"],
        "version": "5",
    }
)


def centred(params: dict[str, object]) -> float:
    """A reward by the distance from the centre line."""
    distance, width = params["distance_from_center"], params["track_width"]
    assert isinstance(distance, float)
    assert isinstance(width, float)
    return max(1e-3, 1.0 - 2.0 * distance / width)


def driven(episode: int, wander: float, reward: Reward = centred, resets: int = 0, start: float = 0.0) -> Rollout:
    """An episode of a driver who keeps the lane but for random steering of `wander` radians; begun at a lap share."""
    random = np.random.default_rng([11, episode, resets])
    race = Race(BlindSimulator(1), circle(), RaceRules(2_000, resets, 2.0, 2.0), [reward])
    race.start(0, start * race.track.length_m)
    one, rows, actions, drift = np.array([0]), [], [], 0.0
    while True:
        cars = race.simulator.cars
        drift = 0.9 * drift + wander * random.standard_normal()
        wanted: FloatArray = keep_lane(cars.x_m, cars.y_m, cars.heading_rad, np.zeros(1)) + drift
        action = int(np.abs(np.degrees(wanted[0]) - np.array(STEERING_DEG)).argmin())
        outcome = race.step(one, Controls(np.radians([STEERING_DEG[action]]), np.array([2.0])))
        rows.append(outcome.rows[0])
        actions.append(action)
        if outcome.over[0]:
            steps = np.stack(rows)
            return Rollout(episode, 0, {}, {}, np.array(actions), steps, truncated=bool(outcome.truncated[0]))


@cache
def episodes(reward: Reward = centred) -> tuple[list[list[Rollout]], list[list[Rollout]], list[Rollout]]:
    """Training by iteration, evaluations in training by iteration, and the laps of the evaluation."""
    training = [
        [driven(EPISODES * i + k, 0.35 - 0.15 * i, reward, start=0.05 * k) for k in range(EPISODES)]
        for i in range(ITERATIONS)
    ]
    checks = [[driven(100 + CHECKS * i + k, 0.2 - 0.1 * i, reward) for k in range(CHECKS)] for i in range(ITERATIONS)]
    return training, checks, [driven(200 + k, 0.15 * k, reward, resets=50) for k in range(LAPS)]


def record(
    root: Path, driven: tuple[list[list[Rollout]], list[list[Rollout]], list[Rollout]], track: str = "circle"
) -> LocalStore:
    """All files of the run that analyses read, written under `root`."""
    store, length_m = LocalStore(root), circle().length_m
    training, checks, laps = driven
    rows: list[metrics.TrainingRow] = []
    time_s, steps = 0.0, 0
    iterations = []
    for i, (trained, checked) in enumerate(zip(training, checks, strict=True)):
        store.put(artifacts.training_simtrace(i), simtrace.to_csv(trained, length_m, time_s).encode())
        rows += metrics.training_rows(trained, time_s)
        time_s = simtrace.end_time_s(trained, time_s)
        store.put(artifacts.training_evaluation_simtrace(i), simtrace.to_csv(checked, length_m, time_s).encode())
        rows += metrics.training_evaluation_rows(checked, time_s, rows[-1])
        time_s = simtrace.end_time_s(checked, time_s)
        steps += sum(map(len, trained))
        iterations.append(
            {"iteration": i, "steps": steps, "entropy": 1.6 - 0.5 * i, "policy_loss": -0.02, "value_loss": 1.0 + i}
        )
    store.put(artifacts.TRAINING_METRICS, metrics.training_metrics_json(rows, "progress").encode())
    store.put(artifacts.EVALUATION_METRICS, metrics.evaluation_metrics_json(metrics.evaluation_rows(laps)).encode())
    store.put(artifacts.evaluation_simtrace(), simtrace.to_csv(laps, length_m, 0.0).encode())
    store.put(artifacts.ITERATIONS, json.dumps(iterations, indent=1).encode())
    lines = ["iteration,kl_divergence", *(f"{i},0.0{i + 1}" for i in range(len(training)))]
    store.put(artifacts.DIAGNOSTICS, "\n".join(lines).encode())
    store.put(artifacts.MODEL_METADATA, METADATA.encode())
    store.put(artifacts.RUN_CONFIG, RunConfig(name=root.name, track=track).to_json().encode())
    return store


def add_circle(folder: Path) -> Path:
    """The track, in a racer's own folder of tracks."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "circle.npy", circle().route)
    return folder
