"""Racing pace: from nothing to how near the limit, against minutes.

    make bench ONLY=pace ARGS="--minutes 30 --seeds 1 2 3"
    python -m tests.bench.bench_pace --tracks paddock --minutes 5 --learning critic=state --learning kl_limit=0.03

For each track and seed: the limit by `undercut line`, a folder by `undercut new --race-line`, and `undercut train` with
it, from nothing, for so many minutes, evaluated by five laps after every iteration, and by five at the end, of the
checkpoint with the fastest laps. Without --tracks: those of TRACKS whose routes are at hand, else paddock.
Result: results/pace.json and pace.png. Another recipe is measured beside it with --label, which joins the runs that the
result has already, of other labels.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from contract import artifacts
from contract.errors import InputError
from contract.metrics import parse_training_metrics
from contract.state import EpisodeStatus
from contract.stores.local import LocalStore
from simapp.tracks import load_track
from tests.bench.record import RESULTS, machine, write_result
from tests.conftest import SHARED_REFERENCE
from undercut.sweep.scores import evaluations

TRACKS = ("reinvent_base", "reInvent2019_track", "AmericasGeneratedInclStart", "Spain_track", "caecer_loop")
LAPS = 5
TARGETS = {30.0: 1.15, 90.0: 1.08}
"""Minutes on two cores -> mean of five clean laps by the limit."""
UNDERCUT = Path(sys.executable).parent / "undercut"


def at_hand(names: Sequence[str]) -> list[str]:
    """Tracks that can be loaded: by name, in tracks/, or beside a development checkout."""
    found = []
    for name in names:
        beside = SHARED_REFERENCE / "tracks" / f"{name}.npy"
        try:
            load_track(name, [Path("tracks")])
            found.append(str(Path(name).resolve()) if name.endswith(".npy") else name)
        except InputError:
            if beside.is_file():
                found.append(str(beside))
    return found


def undercut(folder: Path, *words: str) -> str:
    """What the command says on standard output; its messages go on."""
    command = [str(UNDERCUT), *words]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def cpu_s() -> float:
    """CPU seconds of the commands that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def run(track: str, seed: int, minutes: float, learning: Sequence[str], options: Sequence[str]) -> dict[str, Any]:
    """One training: its curve, and its laps at the end."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        line = json.loads(undercut(folder, "line", track, "--json"))
        limit_s = float(line["limit_s"])
        undercut(folder, "new", "pace", "--race-line", track)
        asked = ["--seed", str(seed), "--minutes", f"{minutes:g}", "--iterations", "100000", "--steps", "100000000"]
        asked += ["--clean-evaluations", "0", "--laps", str(LAPS), *options]
        asked += [word for one in learning for word in ("--learning", one)]
        began_s, spent_s = time.time(), cpu_s()
        undercut(folder, "train", "pace", "--folder", "pace", *asked)
        cpu_minutes = (cpu_s() - spent_s) / 60
        store = LocalStore(folder / "runs" / "pace")
        rows = curve(store, began_s, limit_s)
        laps = json.loads(store.get(artifacts.EVALUATION_METRICS))["metrics"]
    whole = [lap for lap in laps if lap["reset_count"] == 0 and lap["completion_percentage"] == 100]
    clean = [lap["elapsed_time_in_milliseconds"] / 1000 for lap in whole]
    return {
        "machine": machine(),
        "track": Path(track).stem,
        "seed": seed,
        "limit_s": round(limit_s, 3),
        "standing_by_limit": round(line["standing_s"] / limit_s, 3) if line["standing_s"] else None,
        "minutes": minutes,
        "cpu_minutes": round(cpu_minutes, 1),
        "steps": rows[-1]["steps"] if rows else 0,
        "clean_laps": len(clean),
        "mean_s": round(mean(clean), 3) if len(clean) == LAPS else None,
        "best_s": min(clean, default=None),
        "mean_by_limit": round(mean(clean) / limit_s, 3) if len(clean) == LAPS else None,
        "best_by_limit": round(min(clean) / limit_s, 3) if clean else None,
        "curve": rows,
    }


def curve(store: LocalStore, began_s: float, limit_s: float) -> list[dict[str, Any]]:
    """A row an iteration: minutes since the start, steps, and of its five evaluation laps the best, and the mean where
    all are clean, by the limit."""
    metrics = parse_training_metrics(store.get(artifacts.TRAINING_METRICS).decode(), artifacts.TRAINING_METRICS)
    steps = [row["steps"] for row in json.loads(store.get(artifacts.ITERATIONS))]
    rows = []
    for iteration, laps in enumerate(evaluations(metrics)):
        whole = [lap for lap in laps if lap.episode_status == EpisodeStatus.lap_complete.title]
        times = [lap.elapsed_time_in_milliseconds / 1000 / limit_s for lap in whole]
        done_s = store.modified_s(artifacts.training_evaluation_simtrace(iteration))
        rows.append(
            {
                "minutes": round((done_s - began_s) / 60, 2),
                "steps": steps[iteration],
                "clean": len(times),
                "best_by_limit": round(min(times), 3) if times else None,
                "mean_by_limit": round(mean(times), 3) if len(times) == len(laps) else None,
            }
        )
    return rows


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel a track: the best lap of five by the limit, and the best mean so far, against minutes."""
    from matplotlib.figure import Figure

    tracks, labels = (list(dict.fromkeys(it[key] for it in runs)) for key in ("track", "label"))
    figure = Figure((5.6 * len(tracks), 4.4), layout="constrained")
    figure.suptitle(
        "line: lowest mean of 5 clean laps so far; dots: fastest of 5; dashed: the limit from a standstill", fontsize=10
    )
    panels = figure.subplots(1, len(tracks), squeeze=False, sharey=True)[0]
    for panel, track in zip(panels, tracks, strict=True):
        for it in (it for it in runs if it["track"] == track):
            colour = f"C{labels.index(it['label'])}"
            best = [(row["minutes"], row["best_by_limit"]) for row in it["curve"] if row["best_by_limit"]]
            panel.plot([when for when, _ in best], [value for _, value in best], ".", color=colour, alpha=0.25)
            means = [(row["minutes"], row["mean_by_limit"]) for row in it["curve"] if row["mean_by_limit"]]
            lowest = [min(value for _, value in means[: n + 1]) for n in range(len(means))]
            panel.step([when for when, _ in means], lowest, color=colour, where="post")
        for target in TARGETS.values():
            panel.axhline(target, color="grey", linewidth=0.8, linestyle=":")
        panel.axhline(1.0, color="black", linewidth=0.8)
        for standing in {it.get("standing_by_limit") for it in runs if it["track"] == track} - {None}:
            panel.axhline(standing, color="black", linewidth=0.8, linestyle="--")
        panel.set(title=track, xlabel="minutes", ylim=(0.98, 1.6))
        panel.grid(alpha=0.3)
    for number, label in enumerate(labels):
        panels[0].plot([], [], color=f"C{number}", label=label)
    panels[0].set_ylabel("lap time by the limit")
    panels[0].legend()
    figure.savefig(path, dpi=110)


def earlier(label: str) -> list[dict[str, Any]]:
    """Runs of other labels that the result has already."""
    path = RESULTS / "pace.json"
    kept = json.loads(path.read_text())["runs"] if path.exists() else []
    return [it for it in kept if it["label"] != label]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", nargs="+", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--learning", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--label", default="", help="name of the recipe; by default its --learning")
    parser.add_argument("options", nargs="*", help="after --: further options of undercut train")
    told = parser.parse_args()
    tracks = at_hand(told.tracks or TRACKS) or ([] if told.tracks else ["paddock"])
    missing = sorted(set(told.tracks) - {Path(track).stem for track in tracks} - set(tracks))
    if missing and len(tracks) < len(told.tracks):
        parser.error(f"no such track: {', '.join(missing)}")
    label = told.label or ", ".join(told.learning) or "as it is"
    runs = earlier(label)
    for track in tracks:
        for seed in told.seeds:
            found = {"label": label, **run(track, seed, told.minutes, told.learning, told.options)}
            print(json.dumps({key: value for key, value in found.items() if key != "curve"}), flush=True)
            runs.append(found)
            payload = {"laps": LAPS, "targets": {f"{key:g} minutes": value for key, value in TARGETS.items()}}
            method = "undercut line, new --race-line and train, from nothing; minutes by the clock, cpu_minutes of all"
            write_result("pace", {**payload, "runs": runs}, method)
            plot(runs, RESULTS / "pace.png")


if __name__ == "__main__":
    main()
