"""Episodes of several workers side by side, as DeepRacer-for-Cloud trains with DR_WORKERS: each counts from 0."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from contract.simtrace import Trace
from simapp.analysis.log import Episode

_WORKERS_METRICS = re.compile(r"(.+)_([0-9]{1,3})(\.json)", re.IGNORECASE)
_WORKERS_TRACE = re.compile(r"(?:.*/)?([0-9]{1,3})/(?:training|evaluation)-simtrace/[^/]+")


def worker_of_trace(key: str) -> int:
    """2 of 2/training-simtrace/5-iteration.csv; 0 where the key does not say."""
    match = _WORKERS_TRACE.fullmatch(key)
    return int(match[1]) if match else 0


def worker_of_metrics(key: str, keys: Sequence[str]) -> int:
    """2 of TrainingMetrics_2.json; a name that ends in a number for another reason has no twin without one."""
    match = _WORKERS_METRICS.fullmatch(key)
    if match is None or not (match[1] + match[3] in keys or match[1].lower().endswith("trainingmetrics")):
        return 0
    return int(match[2])


def counted_together(workers: Mapping[int, Sequence[Episode]]) -> list[Episode]:
    """The training episodes of all workers, numbered from 0 in the order of iterations, and within one as they were
    driven side by side: the first of each worker, then the second. An episode keeps its worker and its own number."""
    told = [
        (episode.iteration, place, worker, episode)
        for worker, episodes in workers.items()
        for place, episode in enumerate(sorted(episodes, key=lambda it: (it.iteration, it.number)))
    ]
    order: list[tuple[int, int, int, Episode]] = []
    within: Counter[tuple[int, int]] = Counter()
    for iteration, _, worker, episode in told:
        order.append((iteration, within[iteration, worker], worker, episode))
        within[iteration, worker] += 1
    order.sort(key=lambda it: it[:3])
    return [
        dataclasses.replace(episode, number=number, worker=worker, own_number=episode.number)
        for number, (_, _, worker, episode) in enumerate(order)
    ]


def in_iterations(episodes: Sequence[Episode], traces: Mapping[int, Sequence[Trace]], usual: int) -> list[Episode]:
    """A worker's episodes in their iterations. Its metrics do not say where one begins, since only the first worker's
    count of trials starts anew; its simtraces do, and where those are missing, the number that it drives in each:
    what is usual in its traces, or `usual`."""
    traced = {trace.episode: iteration for iteration, found in traces.items() for trace in found}
    counts = Counter(len(found) for found in traces.values())
    each = max(counts, key=lambda count: (counts[count], count)) if counts else usual
    return [
        dataclasses.replace(it, iteration=traced.get(it.number, it.number // each if each else 0)) for it in episodes
    ]


def share(episodes: int, workers: int, worker: int) -> int:
    """How many of an iteration's episodes a worker drives (markov's rollout_worker.py)."""
    return episodes // workers + (worker < episodes % workers)
