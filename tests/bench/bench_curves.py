"""Learning curves: ours against rl_coach as released, with its own settings, on the same samples.

    python -m tests.bench.bench_curves --track ../shared/reference/tracks/reinvent_base.npy --seeds 1 2 [--steps 9000]

"The same samples" is shown in two ways, both from the same first weights, with the same hyperparameters, start places
and random streams of the episodes, and with an evaluation of five laps after every update:

    own      each learner drives its own episodes, as in a training; the curves are over the steps that it has driven
    shared   both learn from the very same episodes, those that ours drives; only the updates differ

rl_coach's settings, which ours leaves: minibatches that are not full are dropped, an episode that the step limit cut is
taken for one that ended, products are in float32 (ours: as `undercut train` on this CPU), one shuffle feeds the next.
Result: results/curves_TRACK.json and .png. An update by rl_coach is slow, so both take 3 epochs instead of 10.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contract.config import RunConfig
from contract.hyperparameters import Hyperparameters
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.runtime import is_bfloat16
from contract.state import EpisodeStatus
from contract.stores.local import LocalStore
from tests.bench.record import RESULTS, write_result
from tests.stock_coach import StockAgent
from trainer.agents import CoachAgent
from undercut.backends.local.rollouts import LocalRollouts
from undercut.runs.run import DEFAULT_REWARD, Run

METADATA = Path(__file__).parents[2] / "actions" / "front_shallow_two_speed.json"
EPISODES, LAPS = 20, 5
Row = dict[str, float]


class Ours:
    """The agent of `undercut train`."""

    def __init__(self, run: Run) -> None:
        self.agent = CoachAgent(run.files.metadata, run.files.hyperparameters, run.config.seed, precision="auto")

    def train(self, rollouts: Sequence[Rollout], iteration: int) -> None:
        self.agent.train(rollouts, iteration)

    def export(self) -> bytes:
        return self.agent.export()


class Stock:
    """rl_coach's own agent with the first weights of ours; ours lends its export."""

    def __init__(self, run: Run) -> None:
        model, hyperparameters, seed = run.files.metadata, run.files.hyperparameters, run.config.seed
        self._exporter = CoachAgent(model, hyperparameters, seed)
        self._agent = StockAgent(model, hyperparameters, seed)
        self._names = [weight.op.name for weight in self._agent.online.weights]
        first = self._exporter.weights()
        self._agent.set_weights([first[name] for name in self._names])

    def train(self, rollouts: Sequence[Rollout], iteration: int) -> None:
        self._agent.store(rollouts)
        self._agent.train(shuffle_seed=iteration)

    def export(self) -> bytes:
        self._exporter.load_weights(dict(zip(self._names, self._agent.weights(), strict=True)))
        return self._exporter.export()


def curves(run: Run, steps: int, learners: dict[str, Ours | Stock], driver: str) -> dict[str, list[Row]]:
    """Train all learners on the episodes that one of them drives; a row an update and learner."""
    source = LocalRollouts(run)
    rows: dict[str, list[Row]] = {name: [] for name in learners}
    policies = {name: learner.export() for name, learner in learners.items()}
    driven, iteration = 0, 0
    while driven < steps:
        order = RolloutOrder(Phase.training, iteration, iteration * EPISODES, EPISODES)
        rollouts = source.collect(policies[driver], order)
        driven += sum(map(len, rollouts))
        for name, learner in learners.items():
            wall, cpu = time.perf_counter(), time.process_time()
            learner.train(rollouts, iteration)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            policies[name] = learner.export()
            laps = source.collect(policies[name], RolloutOrder(Phase.evaluation, iteration, iteration * LAPS, LAPS))
            row = {
                "steps": driven,
                "reward": float(np.mean([rollout.rewards.sum() for rollout in rollouts])),
                "progress_pct": float(np.mean([rollout.progress_pct for rollout in rollouts])),
                "evaluation_progress_pct": float(np.mean([lap.progress_pct for lap in laps])),
                "complete_laps": sum(lap.status == EpisodeStatus.lap_complete for lap in laps),
                "update_wall_s": round(wall, 2),
                "update_cpu_s": round(cpu, 2),
            }
            rows[name].append(row)
            print(run.config.seed, driver, name, json.dumps(row), flush=True)
        iteration += 1
    return rows


def measure(track: str, seed: int, steps: int, modes: Sequence[str]) -> dict[str, Any]:
    """The curves of one seed, by mode and learner."""
    found: dict[str, Any] = {"seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        hyper = Path(folder) / "hyperparameters.json"
        hyper.write_text(Hyperparameters(num_epochs=3).to_json())
        config = RunConfig(name="curves", track=track, seed=seed)
        run = Run.create(config, DEFAULT_REWARD, METADATA, hyper, place=LocalStore(Path(folder) / "run"))
        if "own" in modes:
            ours = curves(run, steps, {"ours": Ours(run)}, "ours")
            found["own"] = ours | curves(run, steps, {"stock": Stock(run)}, "stock")
        if "shared" in modes:
            found["shared"] = curves(run, steps, {"ours": Ours(run), "stock": Stock(run)}, "ours")
    return found


def plot(runs: Sequence[dict[str, Any]], path: Path, track: str) -> None:
    """A column a mode: evaluation and training progress over the steps driven."""
    from matplotlib.figure import Figure

    modes = [mode for mode in ("own", "shared") if any(mode in run for run in runs)]
    figure = Figure((6.4 * len(modes), 6.4), layout="constrained")
    axes = figure.subplots(2, len(modes), squeeze=False, sharex=True, sharey=True)
    titles = {"own": "each drives its own episodes", "shared": "both learn from the same episodes"}
    styles = {"ours": ("tab:blue", "-"), "stock": ("tab:orange", "--")}
    for column, mode in enumerate(modes):
        for row, (key, label) in enumerate(
            [("evaluation_progress_pct", "evaluation: mean progress of 5 laps, %"), ("progress_pct", "training, %")]
        ):
            place = axes[row, column]
            for run in runs:
                for name, rows in run.get(mode, {}).items():
                    colour, line = styles[name]
                    steps = [it["steps"] for it in rows]
                    place.plot(steps, [it[key] for it in rows], line, color=colour, alpha=0.8)
            for name, (colour, line) in styles.items():
                place.plot([], [], line, color=colour, label={"ours": "undercut", "stock": "rl_coach"}[name])
            place.set_ylabel(label)
            place.grid(alpha=0.3)
        axes[0, column].set_title(f"{track}, {titles[mode]}")
        axes[0, column].legend(loc="lower right")
        axes[1, column].set_xlabel("training steps")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--track", default="paddock")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=9_000)
    parser.add_argument("--modes", nargs="+", choices=["own", "shared"], default=["own", "shared"])
    parser.add_argument("--part", help="write the curves to this file only, to be put together by --join")
    parser.add_argument("--join", nargs="+", default=[], help="files of --part to make the result of")
    options = parser.parse_args()
    track = str(Path(options.track).resolve()) if options.track.endswith(".npy") else options.track
    runs = [run for part in options.join for run in json.loads(Path(part).read_text())] or [
        measure(track, seed, options.steps, options.modes) for seed in options.seeds
    ]
    if options.part:
        Path(options.part).write_text(json.dumps(runs))
        return
    name = Path(track).stem
    payload = {
        "track": name,
        "actions": METADATA.name,
        "epochs": 3,
        "episodes_an_update": EPISODES,
        "bfloat16": is_bfloat16("auto"),
        "runs": runs,
    }
    write_result(f"curves_{name}", payload, (__doc__ or "").partition("\n\n")[2].strip())
    plot(runs, RESULTS / f"curves_{name}.png", name)


if __name__ == "__main__":
    main()
