"""From scratch to clean laps: trains with `undercut train` as a racer would, once a seed, and evaluates five laps.

    python tests/bench/bench_learning.py --track ../shared/reference/tracks/reinvent_base.npy --seeds 1 2 3

Without --track it takes the shipped track of the same size.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.record import write_result

REPO = Path(__file__).parents[2]
METADATA = REPO / "actions" / "front_shallow_two_speed.json"


def train(track: str, seed: int, folder: Path) -> dict[str, Any]:
    """One run in a process of its own: steps, wall and CPU seconds, and how its five evaluation laps ended."""
    undercut = Path(sys.executable).parent / "undercut"
    began = time.perf_counter()
    command = [str(undercut), "train", "bench", "--track", track, "--seed", str(seed)]
    command += ["--metadata", str(METADATA), "--laps", "5"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    run = folder / "runs" / "bench"
    iterations = json.loads((run / "iterations.json").read_text())
    laps = json.loads((run / "evaluation_metrics.json").read_text())["metrics"]
    clean = [row["steps"] for row in iterations if row["evaluation_completion_pct"] == 100.0]
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "steps": iterations[-1]["steps"],
        "steps_to_first_clean_evaluation": clean[0] if clean else None,
        "complete_laps": sum(lap["completion_percentage"] == 100 and lap["reset_count"] == 0 for lap in laps),
        "lap_seconds": [lap["elapsed_time_in_milliseconds"] / 1000 for lap in laps],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--track", default="paddock")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    track = str(Path(options.track).resolve()) if options.track.endswith(".npy") else options.track
    runs = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(train(track, seed, Path(folder)))
    name = Path(track).stem
    payload = {
        "track": name,
        "actions": METADATA.name,
        "runs": runs,
        "median_seconds": median(run["seconds"] for run in runs),
        "clean_runs": sum(run["complete_laps"] == 5 for run in runs),
        "target": "5 of 5 laps on every seed within 45,000 steps and 600 s",
    }
    print(json.dumps(payload, indent=2))
    write_result(
        f"learning_{name}",
        payload,
        "undercut train in a fresh process a seed, defaults but track, seed and actions; seconds hold start-up, "
        "training, its evaluations, five laps at the end and all files; a lap with a reset is not complete",
    )


if __name__ == "__main__":
    main()
