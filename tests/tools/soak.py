"""A long training over Redis with two workers: memory, open files, Redis and disk, sampled while it goes.

    python -m tests.tools.soak [--minutes 30] [--mini]

With --mini agent and driver only count (tests/mini_training.py), which leaves the channel's parts: more iterations.
Short iterations, so that there are many. Of each process the median of the third quarter of the samples and of the last
one are compared: what leaks grows from one to the other.
Result: results/soak.json.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.record import write_result
from tests.conftest import REPO
from tests.mini_training import address_json
from tests.redis_server import RedisServer

HYPERPARAMETERS = '{"num_episodes_between_training": 6, "num_epochs": 3, "batch_size": 64}'
PARAMS = "JOB_TYPE: TRAINING\nWORLD_NAME: [paddock, switchback]\nMIN_EVAL_TRIALS: '2'\n"
EVERY_S = 5.0


def sample(pid: int) -> dict[str, float] | None:
    """Memory in MB, open files and threads of a process, None when it has ended."""
    with contextlib.suppress(OSError, KeyError):  # it is ending
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return {
            "rss_mb": int(fields["VmRSS"].split()[0]) / 1024,
            "files": len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208
            "threads": int(fields["Threads"]),
        }
    return None


def growth(samples: list[dict[str, float]], key: str) -> dict[str, float]:
    values = [it[key] for it in samples]
    quarter = max(len(values) // 4, 1)
    before, after = median(values[-2 * quarter : -quarter]), median(values[-quarter:])
    return {"before": round(before, 1), "after": round(after, 1), "most": round(max(values), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--mini", action="store_true")
    options = parser.parse_args()
    series: dict[str, list[dict[str, float]]] = {"trainer": [], "worker 1": [], "worker 2": [], "redis": []}
    with RedisServer() as server, tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "hyper.json").write_text(HYPERPARAMETERS)
        (folder / "params.yaml").write_text(PARAMS)
        where = {
            "UNDERCUT_REDIS_URL": f"redis://127.0.0.1:{server.address.port}/0",
            "UNDERCUT_REDIS_PASSWORD_FILE": str(server.address.password_file),
        }

        module = ["-m", "tests.mini_training"] if options.mini else ["-P", "-m", "undercut"]
        home_of_module = REPO if options.mini else folder

        def start(name: str, *arguments: str) -> "subprocess.Popen[bytes]":
            command = [sys.executable, *module, *arguments]
            with (folder / f"{name}.log").open("wb") as log:
                return subprocess.Popen(
                    command, cwd=home_of_module, env={**os.environ, **where}, stdout=log, stderr=log
                )

        run, told = folder / "runs" / "soak", address_json(server.address)
        limits = ("--iterations", "100000", "--steps", "100000000", "--minutes", str(options.minutes))
        files = ("--params", "params.yaml", "--hyper", "hyper.json", "--clean-evaluations", "0", "--laps", "1")
        worker, trainer = ["worker", "--threads", "1"], ["train", "soak", *limits, *files, "--cars", "6"]
        if options.mini:
            worker, trainer = ["worker", told], ["trainer", told, str(run), "1000000"]
        processes = {name: start(name, *worker) for name in ("worker 1", "worker 2")}
        processes["trainer"] = start("trainer", *trainer)
        iterations = run / "iterations.json"
        disk, done = [], 0
        end_s = time.monotonic() + options.minutes * 60.0
        while time.monotonic() < end_s and processes["trainer"].poll() is None:
            time.sleep(EVERY_S)
            if not iterations.exists():
                continue  # starting
            done = len(json.loads(iterations.read_text()))
            for name, process in processes.items():
                found = sample(process.pid)
                if found is not None:
                    series[name].append(found)
            info: dict[str, Any] = server.client().info("memory")
            series["redis"].append(
                {"used_mb": info["used_memory"] / 2**20, "peak_mb": info["used_memory_peak"] / 2**20}
            )
            model = run / "model"
            disk.append(sum(path.stat().st_size for path in model.rglob("*.ckpt.*") if path.exists()) / 2**20)
        ended = {name: process.poll() for name, process in processes.items()}
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(120.0)
            process.kill()
        log = (folder / "trainer.log").read_text()
    payload: dict[str, Any] = {
        "minutes": options.minutes,
        "mini": options.mini,
        "iterations": done,
        "samples": len(series["trainer"]),
        "ended_early": {name: status for name, status in ended.items() if status is not None},
        "trainers_last_words": log[-600:] if ended["trainer"] else "",
        "processes": {
            name: {key: growth(samples, key) for key in samples[0]} for name, samples in series.items() if samples
        },
        "checkpoints_mb": {"before": round(disk[len(disk) // 2], 1), "after": round(disk[-1], 1)} if disk else {},
        "refused": log.count("refused from"),
        "lost_workers": log.count("has not been heard of"),
    }
    print(json.dumps(payload, indent=2))
    write_result(
        "soak_mini" if options.mini else "soak",
        payload,
        f"a trainer and two workers over Redis, sampled every {EVERY_S:g} s",
    )


if __name__ == "__main__":
    main()
