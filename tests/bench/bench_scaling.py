"""How driving grows with cars side by side, with cores, and with worker processes.

    python -m tests.bench.bench_scaling [--seconds 4]

Each point is processes of their own that drive the shipped paddock with a new policy, camera and reward, as a training
does, and count car-steps while all of them drive. Result: results/scaling.json and scaling.png. Takes three minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.record import RESULTS, write_result

CARS = (1, 5, 20, 80)
USUAL_CARS = 20


def drive(cars: int, threads: int, seconds: float) -> None:
    """Be one process: say when ready, wait for a line, drive, and tell car-steps a second."""
    from contract.config import RunConfig
    from contract.protocols import Phase, RolloutOrder
    from trainer.agents import make_agent
    from undercut.backends.local.rollouts import LocalRollouts
    from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, DEFAULT_REWARD, Run

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        config = RunConfig(name="scaling", cars=cars, threads=threads)
        run = Run.create(config, DEFAULT_REWARD, DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS)
        policy = make_agent(run.files.metadata, run.files.hyperparameters, 0, threads).export()
        rollouts = LocalRollouts(run)
        count = max(2 * cars, 10)
        rollouts.collect(policy, RolloutOrder(Phase.training, 0, 0, count))  # compiles, and draws the track
        print("ready", flush=True)
        sys.stdin.readline()
        steps, number, began = 0, 1, time.perf_counter()
        while time.perf_counter() - began < seconds:
            order = RolloutOrder(Phase.training, number, number * count, count)
            steps += sum(map(len, rollouts.collect(policy, order)))
            number += 1
        print(json.dumps(steps / (time.perf_counter() - began)), flush=True)


def rate(processes: int, cars: int, cores: list[int], seconds: float) -> float:
    """Car-steps a second of so many processes that share the cores, all of them together."""
    threads = max(len(cores) // processes, 1)
    command = [sys.executable, "-m", "tests.bench.bench_scaling", "--drive", str(cars), str(threads)]
    started = [
        subprocess.Popen(
            [*command, "--seconds", str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509  before TensorFlow counts them
        )
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "ready":
            assert process.poll() is None
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0].split()[-1]) for process in started)


def plot(payload: dict[str, Any], path: Path) -> None:
    """Three curves: cars, cores, workers; dashed is what as many times as much would be."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"cars": "cars side by side", "cores": "cores of one process", "workers": "worker processes"}
    for axes, (key, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        points = payload[key]
        x, y = [point[key] for point in points], [point["car_steps_per_s"] for point in points]
        axes.plot(x, y, "o-", color="#1f77b4", linewidth=2)
        if key != "cars":
            axes.plot(x, [y[0] * number / x[0] for number in x], "--", color="0.6", label="in proportion")
            axes.legend(frameon=False, loc="upper left")
        else:
            axes.set_xscale("log", base=2)
        axes.set_xticks(x, [str(number) for number in x])
        axes.minorticks_off()
        axes.set_xlabel(title)
        axes.set_ylim(0, 1.15 * max(y[0] * (x[-1] / x[0] if key != "cars" else 1), *y))
        for number, value in zip(x, y, strict=True):
            axes.annotate(f"{value:,.0f}", (number, value), (8, -13), textcoords="offset points", ha="left", fontsize=8)
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9")
    figure.axes[0].set_ylabel("car-steps a second")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--drive", nargs=2, type=int, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.drive:
        cars, threads = told.drive
        drive(cars, threads, told.seconds)
        return
    cores = sorted(os.sched_getaffinity(0))
    numbers = [n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64) if n <= len(cores)]

    def points(key: str, values: Any, measure: Any) -> list[dict[str, Any]]:
        found = []
        for value in values:
            rates = [measure(value) for _ in range(told.rounds)]
            found.append({key: value, "car_steps_per_s": round(median(rates))})
            print(found[-1], flush=True)
        return found

    payload = {
        "usable_cores": len(cores),
        "cars": points("cars", CARS, lambda n: rate(1, n, cores, told.seconds)),
        "cores": points("cores", numbers, lambda n: rate(1, USUAL_CARS, cores[:n], told.seconds)),
        "workers": points("workers", numbers, lambda n: rate(n, USUAL_CARS, cores, told.seconds)),
    }
    plot(payload, RESULTS / "scaling.png")
    write_result(
        "scaling",
        payload,
        f"processes of their own that drive paddock for {told.seconds:g} s with a new SHALLOW policy, camera and a "
        f"Python reward; cars: one process on all cores; cores: one process of {USUAL_CARS} cars on the first cores; "
        f"workers: so many processes of {USUAL_CARS} cars share all cores. Wall time: other work on the machine counts",
    )


if __name__ == "__main__":
    main()
