"""Episodes of several workers side by side, as DeepRacer-for-Cloud trains with DR_WORKERS: each counts from 0."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from contract.metrics import TrainingRow
from contract.simtrace import Trace
from undercut.analysis.joining import by_iteration, training_episodes
from undercut.analysis.log import Episode

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


def training_of(
    rows: Mapping[int, Sequence[TrainingRow]], traces: Mapping[int, Mapping[int, Sequence[Trace]]]
) -> list[Episode]:
    """The training episodes of metrics rows by worker and simtraces by worker and iteration, of all workers together;
    of one worker alone as it counts them."""
    workers = sorted({*rows, *traces})
    each = Counter(len(trained) for trained in by_iteration(rows.get(0, []))[0]).most_common(1)
    found: dict[int, list[Episode]] = {}
    for worker in workers:
        own = traces.get(worker, {})
        found[worker] = training_episodes(rows.get(worker, []), own)
        if worker:
            found[worker] = in_iterations(found[worker], own, each[0][0] if each else 0)
    if len(workers) > 1:
        return counted_together(found)
    return found[workers[0]] if workers else []


def counted_together(workers: Mapping[int, Sequence[Episode]]) -> list[Episode]:
    """The training episodes of all workers, numbered from 0 in the order of iterations, and within one as they were
    driven side by side: the first of each worker, then the second. An episode keeps its worker and its own number."""
    order: list[tuple[int, int, int, Episode]] = []
    within: Counter[tuple[int, int]] = Counter()
    for worker, episodes in workers.items():
        for episode in sorted(episodes, key=lambda it: (it.iteration, it.number)):
            order.append((episode.iteration, within[episode.iteration, worker], worker, episode))
            within[episode.iteration, worker] += 1
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
