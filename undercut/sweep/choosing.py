"""How values of trials are chosen, and which trials are stopped early: Optuna's samplers and pruners."""

import warnings
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from undercut.sweep.shards import Shard
from undercut.sweep.spec import Range, Scalar, Sweep, field_of, grid_values


class GridSampler(BaseSampler):
    """Trial n has combination n of the grid: each once, whichever machine drives it. (Optuna's own draws among those
    that it has not seen, which two machines may do at the same time.)"""

    def __init__(self, search: dict[str, Any], shard: Shard) -> None:
        self._values = {key: grid_values(value) for key, value in search.items()}
        self._shard = shard

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Scalar:
        sizes = [len(values) for values in self._values.values()]
        place = np.unravel_index(self._shard.number(trial.number) % int(np.prod(sizes)), sizes)
        at = dict(zip(self._values, place, strict=True))
        return self._values[param_name][int(at[param_name])]


def sampler_for(sweep: Sweep, number: int) -> BaseSampler:
    """Of one trial. Its random numbers follow from the sweep's seed and the trial's number, so that no two trials draw
    the same, also after a restart, on another machine, or in another shard."""
    if sweep.file.sampler == "grid":
        return GridSampler(dict(sweep.file.search), sweep.shard)
    seed = int(np.random.SeedSequence([sweep.file.seed, sweep.shard.number(number)]).generate_state(1)[0])
    if sweep.file.sampler == "random":
        return RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # trials that others still drive count as bad ones, so that neighbours in time do not try the same
        return TPESampler(seed=seed, constant_liar=True)


def pruner_for(sweep: Sweep) -> optuna.pruners.BasePruner:
    """Whether a trial goes on after an iteration."""
    if sweep.file.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(sweep.file.startup_trials, sweep.file.warmup_iterations)


def chosen(trial: optuna.Trial, sweep: Sweep) -> dict[str, Scalar]:
    """The trial's values, by key. What it has already stays, so that one which was killed in between can be asked
    again."""
    values: dict[str, Scalar] = {}
    for key, searched in sweep.file.search.items():
        if not isinstance(searched, Range):
            values[key] = cast(Scalar, trial.suggest_categorical(key, searched))
        elif _is_whole(searched, key):
            step = int(searched.step or 1)
            values[key] = trial.suggest_int(key, int(searched.low), int(searched.high), step=step, log=searched.log)
        else:
            values[key] = trial.suggest_float(key, searched.low, searched.high, step=searched.step, log=searched.log)
    return values


def _is_whole(searched: Range, key: str) -> bool:
    return field_of(key).annotation is int and (searched.step is None or searched.step == int(searched.step))
