"""Inspection of a run: drives laps, explains their frames, and leaves pictures in runs/RUN/inspect/."""

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
from rich.console import Console

from contract import artifacts
from contract.metadata import DiscreteActions
from contract.protocols import Phase, RolloutOrder
from contract.rollout import Rollout
from contract.state import STEP_S
from simapp.tracks import Track
from trainer.common.saliency import Saliency
from trainer.diagnostics import read_diagnostics
from undercut.backends.local.rollouts import evaluation_laps
from undercut.figures.diagnostics_plot import diagnostics_plot
from undercut.figures.inspection import InspectedLap, action_use_plot, actions_plot, saliency_sheet
from undercut.runs.progress import lap_table
from undercut.runs.run import Run
from undercut.runs.sessions import chosen_policy
from undercut.terminal import say
from undercut.video import lap_video
from undercut.video.saliency_video import saliency_frames


def inspect(run: Run, console: Console, which: str, laps: int, with_video: bool) -> None:
    """Drive `laps` with the best or last checkpoint and draw them; the frames, the actions along the lap and the video
    are of the first one. Draw the diagnostics of the training, where the run has some."""
    if with_video:
        lap_video.encoder()  # what is missing is an error before the lap, not after
    record, policy = chosen_policy(run, which)
    order = RolloutOrder(Phase.evaluation, record.iteration, 0, laps)
    with console.status("driving"):
        driven = evaluation_laps(run, policy, order, keep_observations=True)
    track = run.track()
    title = f"{run.config.name}, checkpoint {record.iteration}, on {track.name}"
    console.print(lap_table(driven, title))
    with console.status("looking into the network"):
        inspected = list(_explained(run, track, policy, driven))
    first = inspected[0]
    pictures: dict[str, Callable[[], bytes]] = {
        artifacts.INSPECT_SALIENCY: lambda: saliency_sheet(first, f"What the policy looks at: {title}"),
        artifacts.INSPECT_ACTIONS: lambda: actions_plot(first, f"What the policy does along the lap: {title}"),
        artifacts.INSPECT_ACTION_USE: lambda: action_use_plot(inspected, f"Which actions where: {title}"),
    }
    columns = read_diagnostics(run.store)
    if columns:
        pictures[artifacts.INSPECT_DIAGNOSTICS] = lambda: diagnostics_plot(columns, f"Training of {run.config.name}")
    if with_video:
        pictures[artifacts.INSPECT_VIDEO] = lambda: lap_video.mp4(saliency_frames(first, title), round(1.0 / STEP_S))
    for key, draw in pictures.items():
        with console.status(f"drawing {key}"):
            run.store.put(key, draw())
        say(console, run.store.where(key))
    if not columns:
        console.print("this run has no diagnostics.csv: it was trained elsewhere, or by an earlier version")


def _explained(run: Run, track: Track, policy: bytes, driven: list[Rollout]) -> Iterator[InspectedLap]:
    metadata = run.files.metadata
    with closing(Saliency(policy, metadata, run.config.threads or None)) as saliency:
        for lap in driven:
            discrete = isinstance(metadata.actions, DiscreteActions)
            decisions = saliency.maps(lap.observations, lap.actions.astype(np.int64) if discrete else None)
            yield InspectedLap(
                track=track,
                actions=metadata.actions,
                steps=lap.steps,
                frames=lap.observations[metadata.camera][..., 0],
                maps=decisions.maps,
                outputs=decisions.outputs,
                chosen=decisions.chosen,
            )
