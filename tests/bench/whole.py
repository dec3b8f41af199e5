"""The whole table of benches, one after the other, and what they found as Markdown: `make bench`.

    python -m tests.bench.whole [--small] [--table]

About a quarter of an hour on a quiet machine; --small tries each for some seconds, to see that all run, and writes
nothing that anybody should quote. --table only writes results/table.md anew from the results that are there.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from contract.errors import SimulatorError
from simapp.gazebo.process import Install
from tests.bench.record import RESULTS, write_result
from undercut.runs.simulators import gazebo_root

REPO = Path(__file__).parents[2]
WHOLE: dict[str, list[str]] = {
    "simulator": [],
    "camera": ["--repeats", "20"],
    "rules": [],
    "wire": [],
    "transport": ["--train", "8", "--scaling", "10"],
    "policy": [],
    "update": ["--rounds", "3"],
    "learning": ["--seeds", "1", "2"],
    "gazebo": [],
    "scaling": [],
}
SMALL: dict[str, list[str]] = {
    "camera": ["--repeats", "2"],
    "rules": ["--rounds", "2"],
    "wire": ["--rounds", "3"],
    "policy": ["--rounds", "2"],
    "update": ["--steps", "128", "--epochs", "3"],
    "learning": ["--seeds", "1"],
    "scaling": ["--seconds", "1"],
}
REAL_TIME_STEPS_S = 15.0
"""A car's steps in a second of the track's own time."""
AWS_STEPS_S = (6.0, 15.0)
"""Of one of AWS's simulation workers, as its public logs show (contract: what real runs took)."""
AWS_MINUTES = 74.0
"""The console's recorded training on the same kind of track, to laps that are clean."""


def run(small: bool) -> dict[str, Any]:
    """Run each bench in a process of its own; seconds and exit code of each."""
    found: dict[str, Any] = {}
    for name, arguments in WHOLE.items():
        print(f"== {name}", flush=True)
        if name == "gazebo" and not _has_gazebo():
            print("Gazebo is not installed: make gazebo", flush=True)
            continue
        began = time.monotonic()
        command = [sys.executable, "-m", f"tests.bench.bench_{name}", *(SMALL.get(name, []) if small else arguments)]
        status = subprocess.run(command, check=False, cwd=REPO).returncode
        found[name] = {"seconds": round(time.monotonic() - began, 1), "status": status}
    return found


def _has_gazebo() -> bool:
    try:
        Install.find(gazebo_root())
    except SimulatorError:
        return False
    return True


def table(results: Path = RESULTS) -> str:
    """Markdown of what the results say; a bench that has not been run has no row."""
    lines = ["| what | result | against stock | against real time |", "|---|---|---|---|"]
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    for row in ROWS:
        try:
            lines.append("| " + " | ".join(row(found)) + " |")
        except KeyError:
            continue
    machines = sorted({_machine(record) for name, record in found.items() if name in WHOLE})
    return "\n".join(
        [
            "# Measured",
            "",
            "Written by `make bench` from the JSON files beside it, which have commit, machine, load and method.",
            "",
            *lines,
            "",
            "Stock is rl_coach as released, in the same run; for driving it is one of AWS's simulation workers, 6 to",
            "15 steps a second in its recorded logs. Real time is 15 steps a second for each car. *Beside other work*",
            "means that the machine's load was above 2 at the end of the bench: such rates are low.",
            "",
            *(f"- {line}" for line in machines),
            "",
            "![Car-steps a second by cars, cores and workers](scaling.png)"
            if (results / "scaling.png").exists()
            else "",
            "",
        ]
    )


def _machine(record: dict[str, Any]) -> str:
    at = record["machine"]
    busy = ", beside other work" if at["load_1min"] > 2.0 else ""
    return f"{record['name']}: {at['cpu']}, {at['cores']} cores, Python {at['python']}, {record['date'][:10]}{busy}"


def _times(number: float) -> str:
    return f"{number:,.0f} x" if number >= 10 else f"{number:.2g} x"


def _simulator(found: dict[str, Any]) -> list[str]:
    rate = found["simulator"]["tracks"]["paddock"]["car_steps_per_s"]
    low, high = (rate / aws for aws in reversed(AWS_STEPS_S))
    said = f"{rate:,} car-steps a second on one core, 20 cars, with camera, rules and reward"
    return ["simulator", said, f"{_times(low)} to {_times(high)} a worker of AWS", _times(rate / REAL_TIME_STEPS_S)]


def _camera(found: dict[str, Any]) -> list[str]:
    rate = found["camera"]["frames_per_s"]
    return ["camera", f"{rate:,} frames a second on one core, random poses", "", _times(rate / REAL_TIME_STEPS_S)]


def _rules(found: dict[str, Any]) -> list[str]:
    cost, rate = found["rules"]["us_per_car_step"], found["rules"]["car_steps_per_s"]
    said = f"{cost['rules, params and reward']} µs a car-step, with six boxes {cost['with 6 boxes']} µs"
    return ["race rules, params, reward", said, "", _times(rate / REAL_TIME_STEPS_S)]


def _wire(found: dict[str, Any]) -> list[str]:
    row = found["wire"]["rollouts"][1]
    said = (
        f"{row['encode_mb_s']:,} MB/s to bytes, {row['decode_mb_s']:,} MB/s back and checked; {row['us_per_step']} µs"
    )
    return ["rollout wire", f"{said} a step", "", _times(1e6 / row["us_per_step"] / REAL_TIME_STEPS_S)]


def _channels(found: dict[str, Any]) -> list[str]:
    said = "; ".join(
        f"{row['channel']}: {row['mb_s']:,} MB/s, {row['us_per_step']} µs a step"
        for row in found["transport"]["channels"]
    )
    return ["channels", said, "", ""]


def _policy(found: dict[str, Any]) -> list[str]:
    of_stock = found["policy"]["float32_wall_a_frame_of_stock"]
    rows = {row["cars"]: row for row in found["policy"]["steps"]}
    said = ", ".join(f"{rows[cars]['float32_wall_ms']} ms for {cars}" for cars in (1, 20))
    frames_s = 20e3 / rows[20]["float32_wall_ms"]
    return [
        "inference, float32",
        f"{said} frames; bfloat16 {rows[20]['wall_ratio']} of it",
        f"{of_stock['1']} of its time a frame, {of_stock['20']} with 20 cars",
        _times(frames_s / REAL_TIME_STEPS_S),
    ]


def _update(found: dict[str, Any]) -> list[str]:
    it = found["update"]
    said = f"{it['steps']:,} transitions, {it['epochs']} epochs, batch {it['batch_size']}"
    ratio = it["wall_ratio"]
    return [
        "PPO update",
        said,
        f"{ratio['bfloat16']} of its time in bfloat16, {ratio['float32']} in float32",
        "",
    ]


def _learning(found: dict[str, Any]) -> list[str]:
    names = [name for name in found if name.startswith("learning_")]
    it = found[max(names, key=lambda name: str(found[name]["date"]))] if names else found["learning_"]
    rate = sum(run["steps"] for run in it["runs"]) / sum(run["seconds"] for run in it["runs"])
    said = (
        f"{it['clean_runs']} of {len(it['runs'])} seeds with 5 of 5 laps; median {it['median_seconds']:.0f} s for all"
    )
    return [
        f"from nothing to clean laps on {it['track']}",
        f"{said}, from start to files",
        f"{it['median_seconds'] / 60 / AWS_MINUTES:.3f} of AWS's console (74 min)",
        _times(rate / REAL_TIME_STEPS_S),
    ]


def _gazebo(found: dict[str, Any]) -> list[str]:
    it = found["gazebo"]
    rate = it["steps_a_second_one_car"]
    low, high = (rate / aws for aws in reversed(AWS_STEPS_S))
    return [
        "Gazebo in lock step",
        f"{rate:.0f} steps a second with one car and its camera",
        f"{_times(low)} to {_times(high)} a worker of AWS",
        _times(it["times_real_time"]),
    ]


ROWS = (_simulator, _camera, _rules, _wire, _channels, _policy, _update, _learning, _gazebo)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--table", action="store_true")
    told = parser.parse_args()
    failed = []
    if not told.table:
        load = os.getloadavg()[0]
        if load > 1.0:
            print(
                f"the machine's load is {load:.1f}: what is measured now is lower than on a quiet one", file=sys.stderr
            )
        benches = run(told.small)
        failed = [name for name, done in benches.items() if done["status"]]
        total_s = round(sum(done["seconds"] for done in benches.values()))
        write_result("whole", {"benches": benches, "total_s": total_s}, "each bench in a process, one after the other")
        print(f"{total_s} s in all" + (f"; failed: {', '.join(failed)}" if failed else ""))
    (RESULTS / "table.md").write_text(table())
    print(RESULTS / "table.md")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
