"""`undercut compare`: the same policy, or the same view, in both simulators."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError
from contract.metadata import DiscreteActions
from contract.metrics import whole_pct
from contract.protocols import Phase, RolloutOrder
from contract.state import EpisodeStatus, UInt8Array
from contract.stores.local import write_file
from undercut.cli.as_json import JsonOption, show_json
from undercut.cli.options import ReverseOption, SeedOption, TrackOption, WhichOption, loading, messages_on
from undercut.runs.run import TRACKS, Run, overlaid
from undercut.terminal import say

SIMULATORS = ("builtin", "gazebo")
console = Console()


def compare(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="name of the run; `default` if none is given", show_default=False),
    ] = None,
    laps: Annotated[int, typer.Option(min=1, max=100, help="laps in each simulator, from the same starts")] = 5,
    checkpoint: WhichOption = "best",
    track: TrackOption = None,
    reverse_dir: ReverseOption = None,
    seed: SeedOption = None,
    views: Annotated[
        bool, typer.Option("--views", help="what the camera sees instead of laps; RUN may be left out")
    ] = False,
    frames: Annotated[
        Path | None,
        typer.Option(help="recorded frames (.npz of poses and grey) instead of Gazebo's", show_default=False),
    ] = None,
    poses: Annotated[int, typer.Option(min=1, max=1000, help="random places to look from, of --views")] = 40,
    out: Annotated[Path | None, typer.Option(help="picture of --views; views-TRACK.png if not given")] = None,
    as_json: JsonOption = False,
) -> None:
    """Drive a model in the built-in simulator and in Gazebo: laps, times, how far apart their paths are, and where.

    With --views: how alike the frames of --track are, from the same poses; with RUN also how often its best action is
    the same for both.
    """
    if views or frames is not None:
        compare_views(run, checkpoint, track, frames, poses, seed or 0, out, as_json)
        return
    compare_laps(run or "default", laps, checkpoint, track, reverse_dir, seed, as_json)


def compare_laps(
    run: str, laps: int, checkpoint: str, track: str | None, reverse_dir: bool | None, seed: int | None, as_json: bool
) -> None:
    """Drive a model's laps in both simulators; see `compare`."""
    out = messages_on(as_json)
    with loading(out):
        from undercut.backends.local.rollouts import evaluation_laps
        from undercut.figures.comparison import comparison_plot, path_difference
        from undercut.runs import sessions  # TensorFlow takes seconds to import; --help should not

    opened = Run.open(run)
    base = opened.config.model_copy(update={"enable_domain_randomization": False, "worlds": ()}).model_dump()
    values = overlaid(base, {"track": track, "seed": seed, "reverse_dir": reverse_dir})
    record, policy = sessions.chosen_policy(opened, checkpoint)
    order = RolloutOrder(Phase.evaluation, record.iteration, 0, laps)
    driven = {}
    for kind in SIMULATORS:
        config = RunConfig.build({**values, "simulator": kind}, "command line")
        with out.status(f"driving {laps} laps in {kind}"):
            driven[kind] = evaluation_laps(dataclasses.replace(opened, config=config), policy, order)
    road = dataclasses.replace(opened, config=config).track()
    pairs = zip(*driven.values(), strict=True)
    differences = [path_difference(road, one.steps, other.steps) for one, other in pairs]
    title = f"{run}, checkpoint {record.iteration}, on {road.name}"
    paths = [[lap.steps for lap in driven[kind]] for kind in SIMULATORS]
    opened.store.put(artifacts.COMPARISON_PLOT, comparison_plot(road, paths, SIMULATORS, differences, title))
    result = {
        "run": run,
        "checkpoint": record.iteration,
        "track": road.name,
        "laps": [
            {
                **{
                    kind: {
                        "status": driven[kind][i].status.title,
                        "completion_pct": round(driven[kind][i].progress_pct, 2),
                        "time_s": round(driven[kind][i].time_s, 3),
                        "off_track": int((driven[kind][i].steps["status"] == EpisodeStatus.off_track).sum()),
                    }
                    for kind in SIMULATORS
                },
                "mean_gap_m": round(difference.mean_m, 4),
                "most_gap_m": round(difference.most_m, 4),
                "parted_at_m": difference.parted_at_m,
            }
            for i, difference in enumerate(differences)
        ],
    }
    text = json.dumps(result, indent=2)
    opened.store.put(artifacts.COMPARISON, f"{text}\n".encode())
    if as_json:
        typer.echo(text)
        return
    table = Table("lap", *SIMULATORS, "mean gap", "most", "parted at", title=title)
    for number, (difference, *both) in enumerate(zip(differences, *driven.values(), strict=True), 1):
        ends = [f"{whole_pct(lap.progress_pct)} % in {lap.time_s:.2f} s" for lap in both]
        parted = "never" if difference.parted_at_m is None else f"{difference.parted_at_m:.1f} m"
        table.add_row(str(number), *ends, f"{difference.mean_m:.3f} m", f"{difference.most_m:.3f} m", parted)
    console.print(table)
    say(console, f"pictures and numbers: {opened.store.where(artifacts.COMPARISON_PLOT)}")


def compare_views(
    run: str | None,
    checkpoint: str,
    track: str | None,
    frames: Path | None,
    count: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw a track from the same poses in both simulators, or in the built-in one and as recorded; see `compare`."""
    messages = messages_on(as_json)
    with loading(messages):
        from simapp.tracks import load_track
        from undercut.figures.views import Likeness, views_picture
        from undercut.runs import viewing

    opened = None if run is None else Run.open(run)
    name = track or (None if opened is None else opened.config.track)
    if name is None:
        raise InputError("--views", None, "frames are of a track", "name one with --track, or a run")
    road = load_track(name, [TRACKS])
    with messages.status("drawing frames"):
        recorded = None if frames is None else viewing.read_frames(frames)
        places = recorded.poses if recorded else viewing.random_poses(road, count, seed)
        theirs = recorded.grey if recorded else viewing.drawn(road, places, "gazebo")
        mine = viewing.drawn(road, places, "builtin")
    likeness = Likeness.of(mine, theirs)
    result: dict[str, Any] = {"track": road.name, "against": str(frames) if frames else "gazebo", **likeness.summary()}
    if opened is not None:
        result |= _answers(opened, checkpoint, mine, theirs)
    path = out or Path(f"views-{road.name}.png")
    names = ("built-in camera", "recorded" if recorded else "Gazebo")
    title = f"{road.name}: SSIM {result['ssim_median']:.3f}"
    write_file(path, views_picture(mine, theirs, likeness, names, title))
    result["picture"] = str(path)
    if as_json:
        rows = zip(places.tolist(), likeness.ssim.tolist(), likeness.error.tolist(), strict=True)
        result["poses"] = [{"pose": pose, "ssim": round(one, 4), "error": round(two, 3)} for pose, one, two in rows]
        show_json(result)
        return
    table = Table("", "", title=f"{road.name}: the built-in camera against {result['against']}", show_header=False)
    for key, value in result.items():
        if key not in ("track", "against", "picture"):
            table.add_row(key.replace("_", " "), "none" if value is None else str(value))
    console.print(table)
    say(console, f"picture: {path}")


def _answers(run: Run, checkpoint: str, mine: UInt8Array, theirs: UInt8Array) -> dict[str, float | int]:
    """How alike a policy answers both cameras' frames."""
    from undercut.runs import sessions, viewing

    (record, policy), metadata = sessions.chosen_policy(run, checkpoint), run.files.metadata
    both = [viewing.best_actions(policy, metadata, each) for each in (mine, theirs)]
    answers: dict[str, float | int] = {"checkpoint": record.iteration}
    if isinstance(metadata.actions, DiscreteActions):
        return answers | {"same_best_action_pct": round(viewing.agreement_pct(*both), 1)}
    return answers | {"mean_action_difference": round(float(np.abs(both[0] - both[1]).mean()), 4)}
