"""Checkpoints in a folder and in a bucket of a MinIO on this machine, in turns.

    compose/minio/build && python -m tests.bench.bench_store [--rounds 7]

Saves and loads checkpoints as large as those of the SHALLOW network. Both stores are on one disk, and the server takes
its CPU time from the same cores. Result: results/store.json.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from contract.protocols import Place
from contract.stores.local import LocalStore
from tests.bench.record import write_result
from tests.minio_server import MinioServer, minio_program
from trainer.checkpoints import Checkpoints

DATA_MB, GRAPH_MB = 140, 24
METHOD = (
    f"a checkpoint of {DATA_MB} + {GRAPH_MB} MB of noise saved, then loaded and verified, in a folder and in MinIO by "
    "turns; medians of wall times; ratio: median of each turn's own"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    files, graph = (
        {"data-00000-of-00001": rng.bytes(DATA_MB * 10**6), "index": bytes(5_000)},
        rng.bytes(GRAPH_MB * 10**6),
    )
    with tempfile.TemporaryDirectory() as folder:
        server = MinioServer(Path(folder) / "minio", minio_program())
        places: dict[str, Place] = {"folder": LocalStore(Path(folder) / "run"), "bucket": server.store("run")}
        times: dict[str, list[float]] = {f"{place}_{what}_s": [] for place in places for what in ("save", "load")}
        try:
            for number in range(rounds):
                for name, place in places.items():
                    checkpoints, began_s = Checkpoints(place), time.perf_counter()
                    record = checkpoints.save(number, number, files, graph, 1.0, {})
                    saved_s = time.perf_counter()
                    checkpoints.load(record)
                    times[f"{name}_save_s"].append(saved_s - began_s)
                    times[f"{name}_load_s"].append(time.perf_counter() - saved_s)
        finally:
            server.kill()
    payload = {name: round(median(values), 3) for name, values in times.items()}
    for what in ("save", "load"):
        turns = zip(times[f"bucket_{what}_s"], times[f"folder_{what}_s"], strict=True)
        payload[f"bucket_over_folder_{what}"] = round(median(bucket / own for bucket, own in turns), 2)
    payload["bucket_save_mb_s"] = round((DATA_MB + GRAPH_MB) / payload["bucket_save_s"], 1)
    print(json.dumps(payload, indent=1))
    write_result("store", {"rounds": rounds, **payload}, METHOD)


if __name__ == "__main__":
    main()
