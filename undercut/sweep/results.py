"""What a sweep has found, for tables, pages and other programs."""

import math
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from undercut.sweep.scores import DIRECTIONS, UNITS
from undercut.sweep.spec import Scalar, Sweep
from undercut.sweep.storage import Studies

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
MIN_FOR_IMPORTANCE = 4
"""Complete trials, below which importance would be noise."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial. `value` is None unless it is complete; `curve` is the score after each iteration so far."""

    run: str
    state: str
    value: float | None
    values: dict[str, Scalar]
    curve: list[float]
    minutes: float | None
    why: str


@dataclass(frozen=True, slots=True)
class SweepResult:
    """All trials in their order. `importance` is the share of each searched key in what makes a trial one of the best,
    by PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), empty while there are too few trials."""

    sweep: Sweep
    trials: list[TrialResult]
    importance: dict[str, float]

    @classmethod
    def of(cls, sweep: Sweep, *studies: Studies) -> "SweepResult":
        """Of a sweep's study, or of those of its shards, whose trials are then in the order of their runs."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        found: list[TrialResult] = []
        together = optuna.create_study(direction=DIRECTIONS[sweep.file.objective])
        for one in studies:
            own = sweep.of_shard(one.shard) if one.shard else sweep
            trials = one.study().get_trials(deepcopy=False)
            together.add_trials(it for it in trials if it.state == TrialState.COMPLETE)
            found += [_trial(own, it) for it in trials]
        return cls(sweep, sorted(found, key=lambda it: it.run), _importance(together))

    @property
    def best(self) -> list[TrialResult]:
        """Complete trials, the best first."""
        complete = [it for it in self.trials if it.value is not None]
        sign = 1.0 if self.sweep.file.objective == "lap_time" else -1.0
        return sorted(complete, key=lambda it: sign * (it.value or 0.0))

    def counted(self) -> dict[str, int]:
        """How many trials are in each state, and how many are still to begin."""
        counts = {name: sum(it.state == name for it in self.trials) for name in STATES.values()}
        counts["waiting"] += max(self.sweep.trials - len(self.trials), 0)
        return counts

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        best = self.best[:1]
        return {
            "name": self.sweep.name,
            "objective": self.sweep.file.objective,
            "unit": UNITS[self.sweep.file.objective],
            "trials": self.counted(),
            "best": _json(best[0]) if best else None,
            "importance": self.importance,
            "runs": [_json(it) for it in self.trials],
        }


def _trial(sweep: Sweep, trial: FrozenTrial) -> TrialResult:
    steps = sorted(trial.intermediate_values)
    took = trial.duration.total_seconds() / 60.0 if trial.duration else None
    return TrialResult(
        run=sweep.run_name(trial.number),
        state=STATES[trial.state],
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        values=dict(trial.params),
        curve=[trial.intermediate_values[step] for step in steps],
        minutes=took,
        why=str(trial.user_attrs.get("why", "")),
    )


def _importance(study: optuna.Study) -> dict[str, float]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_FOR_IMPORTANCE or len({it.value for it in complete}) < 2:
        return {}
    shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {key: share for key, share in shares.items() if math.isfinite(share)}


def _json(trial: TrialResult) -> dict[str, Any]:
    return {
        "run": trial.run,
        "state": trial.state,
        "value": trial.value,
        "values": trial.values,
        "iterations": len(trial.curve),
        "minutes": None if trial.minutes is None else round(trial.minutes, 2),
        **({"why": trial.why} if trial.why else {}),
    }
