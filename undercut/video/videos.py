"""Videos of runs and races: records what was driven, finds recordings or simtraces again, and writes the MP4s.

Nothing here imports TensorFlow: a video needs the files of a run and no more.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from contract import artifacts, simtrace
from contract.config import RunConfig, is_run_name
from contract.errors import InputError, UndercutError
from contract.fields import suggestion
from contract.protocols import Phase, Place
from contract.recording import RecordedRacer, Recording, of_traces, recorded
from contract.rollout import Rollout
from simapp.kernels import Scope
from simapp.objects import Course
from simapp.scene.views import CHASE, PIP, TOPVIEW
from simapp.tracks import Track, load_track
from undercut.runs.compiling import compile_ahead
from undercut.runs.run import TRACKS, Run
from undercut.runs.workspace import workspace
from undercut.terminal import say
from undercut.video.footage import FRAMES_PER_S, frame_count
from undercut.video.lap_video import VideoMaker

DEFAULT_VIEWS = (TOPVIEW, CHASE, PIP)
"""The guidance's three."""
MAX_LAPS, MAX_S = 5, 180.0
"""Of all racers together, in the videos that evaluations and races leave without being asked."""
_DRAWING_TIMEOUT_S = 3600.0


def recording_of(config: RunConfig, track: Track, driven: Sequence[Rollout]) -> Recording:
    """What one run drove, by the config that it was driven with."""
    title = config.display_name or config.racer_name or config.name
    racer = RecordedRacer(title, config.name, config.car_color)
    return Recording(
        title=config.name,
        track=config.track,
        reverse_dir=config.reverse_dir,
        track_length_m=track.length_m,
        racers=(racer,),
        episodes=tuple(recorded(driven)),
        leaderboard=config.leaderboard_name,
    )


def drop_videos(store: Place, folder: str) -> None:
    """Delete the MP4s below a folder of the store: what is written there next is not what they show."""
    for key in store.list(folder):
        if key.endswith(artifacts.VIDEO_END):
            store.delete(key)


@dataclass(frozen=True, slots=True)
class VideoSource:
    """A recording, what stands on its road, and the key of each racer's videos by view."""

    recording: Recording
    track: Track
    store: Place
    key: Callable[[int, str], str]
    note: str = ""
    """What a viewer should know, empty for nothing."""


def source_of_run(run: Run, iteration: int | None = None, is_training: bool = False) -> VideoSource:
    """The run's evaluation, or of an iteration of its training the evaluation laps or the episodes that it trained on.

    From its recording where there is one, else from its simtrace. InputError when there is neither.
    """
    phase, number = ("evaluation", 0) if iteration is None else ("training", iteration)
    if iteration is None:
        key, trace = artifacts.evaluation_recording(), artifacts.evaluation_simtrace()
    elif is_training:
        key, trace = "", artifacts.training_simtrace(iteration)
    else:
        key, trace = artifacts.training_recording(iteration), artifacts.training_evaluation_simtrace(iteration)
    note = ""
    if key and run.store.exists(key):
        recording = Recording.from_bytes(run.store.get(key), run.store.where(key))
        track = _track_of(recording)
    elif run.store.exists(trace):
        first = run if iteration is None else first_world(run)
        track, text = first.track(), run.store.get(trace).decode()
        worlds = 1 if iteration is None else max(len(run.config.worlds), 1)
        recording, note = _recording_of_trace(first.config, track, text, run.store.where(trace), worlds)
    else:
        fix = f"undercut evaluate {run.config.name}"
        if iteration is not None:
            fix = "name an iteration that the run has; undercut runs shows how many"
        raise InputError(
            f"run {run.config.name}", trace, "a video needs a recording or a simtrace; neither is there", fix
        )
    return VideoSource(recording, track, run.store, lambda _, view: artifacts.video(phase, view, number), note)


def source_of_race(name: str) -> VideoSource:
    """All racers of a race; InputError when there is no such race."""
    store, key = workspace(), artifacts.race_recording(name)
    if not store.exists(key):
        known = [race for race in store.folders("races/") if store.exists(artifacts.race_recording(race))]
        rule = f"a race with a recording in races/ (there are: {', '.join(known) or 'none yet'})"
        raise InputError(
            "race",
            name,
            rule,
            suggestion(name, known, f"undercut race RUN_A RUN_B --name {name if is_run_name(name) else 'NAME'}"),
        )
    recording = Recording.from_bytes(store.get(key), store.where(key))

    def video_key(racer: int, view: str) -> str:
        return artifacts.race_video(name, recording.racers[racer].folder, view)

    return VideoSource(recording, _track_of(recording), store, video_key)


def source_of_file(path: Path, track: str, store: Place) -> VideoSource:
    """A simtrace of anybody's on a track; the videos go to the store, named after the file."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), str(error), "a simtrace is a CSV file that can be read", "name another file"
        ) from None
    config = RunConfig(name="simtrace", track=track)
    loaded = load_track(track, [TRACKS])
    recording, note = _recording_of_trace(config, loaded, text, str(path))
    return VideoSource(recording, loaded, store, lambda _, view: f"{path.stem}-{view}.mp4", note)


def first_world(run: Run) -> Run:
    """The run as it is in the first of its training's worlds, of which videos of iterations are."""
    return dataclasses.replace(run, config=run.config.in_world(0))


def write_videos(
    source: VideoSource,
    console: Console,
    views: Sequence[str] = DEFAULT_VIEWS,
    trials: Sequence[int] | None = None,
    racer: str | None = None,
    most_s: float | None = None,
) -> list[str]:
    """Draw the views of each racer, or of one (its folder or name), and put them into the store; where they are.

    `most_s` cuts each video off after so many seconds.
    """
    recording = source.recording
    names = [who.folder or who.title for who in recording.racers]
    chosen = range(len(names)) if racer is None else [place for place, name in enumerate(names) if name == racer]
    if not chosen:
        raise InputError("--racer", racer, f"one of {', '.join(names)}", "leave it out for all")
    if source.note:
        say(console, source.note)
    compile_ahead(console, Scope.all)
    maker = VideoMaker.of(source.track)
    written = []
    for place in chosen:
        with console.status(f"drawing videos{'' if len(names) == 1 else f' of {names[place]}'}: {', '.join(views)}"):
            drawn = maker.videos(recording, views, place, trials, most_s)
        for view, content in drawn.items():
            source.store.put(source.key(place, view), content)
            written.append(source.store.where(source.key(place, view)))
            say(console, f"{'video ' + view + ':':24s}{written[-1]}")
    return written


def after_evaluation(run: Run, console: Console) -> None:
    """Videos of the evaluation that was just written; its own files stay whatever happens."""
    _attempt(lambda: _first_laps(source_of_run(run), console, f"undercut video {run.config.name}"), console)


def after_race(name: str, console: Console) -> None:
    """Videos of the race that was just written, as after_evaluation."""
    _attempt(lambda: _first_laps(source_of_race(name), console, f"undercut video {name} --race"), console)


def _first_laps(source: VideoSource, console: Console, command: str) -> None:
    racers = range(len(source.recording.racers))
    trials, most_s = range(1, max(MAX_LAPS // len(racers), 1) + 1), MAX_S / len(racers)
    write_videos(source, console, trials=trials, most_s=most_s)
    is_whole = all(
        frame_count(source.recording, r) == frame_count(source.recording, r, trials) <= most_s * FRAMES_PER_S
        for r in racers
    )
    if not is_whole:
        shown = f"{len(trials)} laps, {most_s:.0f} s at most"
        say(console, f"the videos show the first {shown}; {command} draws everything")


def _attempt(draw: Callable[[], None], console: Console) -> None:
    """A video that cannot be drawn is told, and is no failure of what was driven."""
    try:
        draw()
    except (UndercutError, OSError, ValueError, RuntimeError) as error:
        say(console, f"no videos, everything else is written: {error}", style="yellow")


class IterationVideos:
    """Draws videos of every Nth iteration's evaluation laps in processes of their own while the training goes on.

    They run one after the other at low priority. What fails is told at the end and does not touch the training.
    """

    def __init__(self, run: Run, every: int) -> None:
        self._run, self._every, self._first = run, every, first_world(run)
        self._pool = ThreadPoolExecutor(1)
        self._jobs: list[tuple[int, Future[str]]] = []
        self._process: subprocess.Popen[str] | None = None

    def add(self, iteration: int, driven: Sequence[Rollout]) -> None:
        """Record the laps of an iteration that was saved, where it is one of those to be shown."""
        if self._every and (iteration + 1) % self._every == 0:
            worlds = max(len(self._run.config.worlds), 1)
            shown = [lap for lap in driven if lap.episode % worlds == 0]
            if not shown:
                return
            recording = recording_of(self._first.config, self._first.track(), shown)
            self._jobs.append((iteration, self._pool.submit(self._draw, iteration, recording)))

    def finish(self, console: Console, is_stopped: bool = False) -> None:
        """Wait for the videos; when the training was stopped, only for the one that is being drawn."""
        for iteration, job in self._jobs:
            if is_stopped and job.cancel():
                continue
            problem = job.result()
            place = self._run.store.where(artifacts.video(Phase.training, PIP, iteration))
            failed = f"no video of iteration {iteration}: {problem}"
            say(console, failed if problem else f"video, iteration {iteration}: {place}")
        self._pool.shutdown()

    def abandon(self) -> None:
        """Draw no more, at once."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        process = self._process
        if process is not None:
            process.terminate()

    def _draw(self, iteration: int, recording: Recording) -> str:
        """What went wrong in words, or nothing."""
        run = self._run
        command = ["nice", sys.executable, "-m", "undercut", "video", run.config.name, "--iteration", str(iteration)]
        try:
            run.store.put(artifacts.training_recording(iteration), recording.to_bytes())
            # a session of its own: the Ctrl-C that stops the training is not meant for it
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            output, _ = self._process.communicate(timeout=_DRAWING_TIMEOUT_S)
        except (UndercutError, OSError, subprocess.TimeoutExpired) as error:
            self.abandon()
            return str(error)
        return output.strip() if self._process.returncode else ""


def _recording_of_trace(
    config: RunConfig, track: Track, text: str, where: str, worlds: int = 1
) -> tuple[Recording, str]:
    """Every `worlds`th episode of a simtrace, those of the first world, and what is to be said about them."""
    traces = [trace for trace in simtrace.from_csv(text, where) if trace.episode % worlds == 0]
    if not traces:
        raise InputError(where, "no rows", "a simtrace with a step at least", "the file was cut off: drive again")
    standing = Course(track, config.race, config.reverse_dir).fixed()
    moving = config.race.number_of_bot_cars or config.race.randomize_obstacle_locations
    note = "drawn from the simtrace, which does not tell where bots and obstacles were" if moving else ""
    return dataclasses.replace(recording_of(config, track, []), episodes=tuple(of_traces(traces, standing))), note


def _track_of(recording: Recording) -> Track:
    track = load_track(recording.track, [TRACKS])
    if abs(track.length_m - recording.track_length_m) > 0.01:
        raise InputError(
            f"track {recording.track}",
            f"{track.length_m:.2f} m",
            f"the track that was driven on; that one's lap was {recording.track_length_m:.2f} m",
            "put the route back as it was, or evaluate again",
        )
    return track.reversed() if recording.reverse_dir else track
