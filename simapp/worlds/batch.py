"""Imports many worlds at once, each in a process of its own."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from simapp.worlds.copies import WorldSource
from simapp.worlds.importer import ImportedWorld, import_world

MAX_JOBS = 4
"""Processes at most: one takes up to 400 MB while it decodes the largest textures and meshes that are allowed."""


def import_worlds(
    sources: Sequence[WorldSource],
    tracks: Path,
    is_replaced: bool = False,
    jobs: int = 0,
    tell: Callable[[ImportedWorld], None] = lambda done: None,
) -> list[ImportedWorld]:
    """Import worlds into the folder `tracks`, and tell of each as it is done; in the order of `sources`.

    jobs   processes at once; 0 is as many as there are cores, 4 at most
    """
    jobs = min(jobs or len(os.sched_getaffinity(0)), MAX_JOBS, len(sources))
    if jobs <= 1:
        done = []
        for source in sources:
            done.append(import_world(source, tracks, is_replaced))
            tell(done[-1])
        return done
    tracks.mkdir(parents=True, exist_ok=True)
    waiting: dict[Future[ImportedWorld], WorldSource] = {}
    found: dict[str, ImportedWorld] = {}
    # a fresh process: threads of this one, such as the progress bar's, could hold a lock while it is copied
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        waiting = {pool.submit(import_world, source, tracks, is_replaced): source for source in sources}
        for future in as_completed(waiting):
            source = waiting[future]
            try:
                found[source.name] = future.result()
            except BrokenProcessPool:
                found[source.name] = ImportedWorld(
                    source.name, "failed", notes=("its process was ended, for memory perhaps",)
                )
            tell(found[source.name])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return [found[source.name] for source in sources]
