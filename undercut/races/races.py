"""Races between runs: head to head on one track, and a tournament of such races."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from contract import artifacts, simtrace
from contract.car import car_of_version
from contract.config import RunConfig, is_run_name
from contract.errors import InputError
from contract.metrics import evaluation_metrics_json, evaluation_rows
from contract.protocols import Place
from contract.recording import RecordedRacer, Recording, recorded
from contract.rollout import Rollout
from contract.stores.local import LocalStore, drop_empty_folders
from contract.vehicle import CAR_COLORS
from simapp.head_to_head import race_laps
from simapp.objects import Course
from simapp.policy import FrozenPolicy
from simapp.race import Race, Reward
from simapp.reward_source import RaceReward
from simapp.rollout import Racer
from trainer.checkpoints import Checkpoints
from undercut.backends.local.rollouts import evaluation_rules
from undercut.figures.plots import lap_plot
from undercut.races.params import RaceParams
from undercut.runs.compiling import compile_for
from undercut.runs.live import LiveSession
from undercut.runs.run import Run, overlaid, track_of
from undercut.runs.sessions import checkpoint
from undercut.runs.simulators import make_simulator
from undercut.runs.statistics import LapStatistics, lap_statistics
from undercut.runs.workspace import workspace
from undercut.terminal import say
from undercut.video.videos import drop_videos

MAX_RACERS = 4
"""On one track at once."""


@dataclass(frozen=True, slots=True)
class GridEntry:
    """A run on the grid: the folder of its files in the race, what it is called, and its colour."""

    run: Run
    folder: str
    title: str
    colour: str
    which: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a racer did in a race. `heats_won` counts heats in which it was first over the line."""

    folder: str
    racer: str
    run: str
    checkpoint: int
    total_time_s: float
    heats_won: int
    crashes: int
    laps: LapStatistics


def grid_of(params: RaceParams, which: str) -> list[GridEntry]:
    """The runs of a race with their `which` (best or last) checkpoints; InputError for a run that does not exist."""
    return [
        GridEntry(Run.open(racer.model), folder, title, racer.car_color, which)
        for racer, folder, title in zip(params.racers, params.folders(), params.titles(), strict=True)
    ]


def race_config(params: RaceParams, grid: Sequence[GridEntry], name: str, given: Mapping[str, Any]) -> RunConfig:
    """The config of a race: what its parameters say, and over it what is given, those values that are not None.
    InputError for a value that is none."""
    base = {
        "name": name,
        "track": params.track or grid[0].run.config.track,
        "reverse_dir": params.reverse_dir,
        "race": params.race.model_dump(),
        "evaluation": params.evaluation.model_dump(),
        "enable_domain_randomization": params.enable_domain_randomization,
        "leaderboard_type": params.leaderboard_type,
        "leaderboard_name": params.leaderboard_name,
    }
    return RunConfig.build(overlaid(base, given), "command line")


def head_to_head(grid: Sequence[GridEntry], config: RunConfig, console: Console) -> list[Standing]:
    """Race the grid on the config's track by its evaluation rules; write everything under races/NAME/.

    Trials are heats of one lap, driven side by side in worlds of their own, in which the cars change sides; with
    IS_CONTINUOUS there is one heat of that many laps in a row. See `_rank` for who wins.
    """
    if not 2 <= len(grid) <= MAX_RACERS:
        raise InputError("racers", len(grid), f"2 to {MAX_RACERS} cars race each other", "name that many runs")
    records = [checkpoint(entry.run, entry.which) for entry in grid]
    compile_for(config, [entry.run.files.metadata for entry in grid], console)
    track = track_of(grid[0].run.store, config.track)
    track = track.reversed() if config.reverse_dir else track
    laps = config.evaluation.number_of_trials
    worlds, in_a_row = (1, laps) if config.evaluation.is_continuous else (laps, 1)
    models = [entry.run.files.metadata for entry in grid]
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(console.status("loading the racers"))  # TensorFlow takes seconds to import
        racers = []
        for entry, record, model in zip(grid, records, models, strict=True):
            graph = Checkpoints(entry.run.store).load_policy(record)
            policy = FrozenPolicy(graph, model, config.threads or None)
            stack.callback(policy.close)
            racers.append(Racer(policy, model))
        colours = np.tile([CAR_COLORS.index(entry.colour) for entry in grid], worlds)
        places = np.repeat(np.arange(worlds), len(grid))
        simulator = make_simulator(config, track, models * worlds, places, colours)
        stack.callback(simulator.close)
        own = [RaceReward(entry.run.files.reward) for entry in grid]
        rewards: list[Reward] = [reward.instance() for _ in range(worlds) for reward in own]
        rules = evaluation_rules(config)
        race = Race(simulator, track, rules, rewards, config.reverse_dir, config.race, colours)
        ranges = config.randomization if config.enable_domain_randomization else None
        live = stack.enter_context(LiveSession("race", "race", config, console.print))
        doing = f"{len(grid)} racers drive {laps} {'laps in a row' if in_a_row > 1 else 'heats'}"
        live.doing(doing)
        status.update(doing)
        driven = race_laps(race, racers, in_a_row, config.evaluation, config.seed, ranges)

    won = _heats_won(driven, worlds, in_a_row)
    store = workspace()
    recording = Recording(
        title=config.name,
        track=config.track,
        reverse_dir=config.reverse_dir,
        track_length_m=track.length_m,
        racers=tuple(RecordedRacer(e.title, e.run.config.name, e.colour, e.folder) for e in grid),
        episodes=tuple(lap for r, rollouts in enumerate(driven) for lap in recorded(rollouts, r, in_a_row)),
        leaderboard=config.leaderboard_name,
    )
    drop_race(store, config.name)
    store.put(artifacts.race_recording(config.name), recording.to_bytes())
    standing_objects = Course(track, config.race, config.reverse_dir).fixed()
    standings = []
    for r, (entry, rollouts) in enumerate(zip(grid, driven, strict=True)):
        title = f"{entry.title} in {config.name} on {track.name}"
        rows = evaluation_rows(rollouts)
        store.put(artifacts.race_metrics(config.name, entry.folder), evaluation_metrics_json(rows).encode())
        trace = simtrace.to_csv(rollouts, track.length_m, 0.0)
        store.put(artifacts.race_simtrace(config.name, entry.folder), trace.encode())
        store.put(
            artifacts.race_plot(config.name, entry.folder),
            lap_plot(track, [lap.steps for lap in rollouts], title, standing_objects),
        )
        standings.append(
            Standing(
                folder=entry.folder,
                racer=entry.title,
                run=entry.run.config.name,
                checkpoint=records[r].iteration,
                total_time_s=sum(lap.time_s for lap in rollouts),
                heats_won=won[r],
                crashes=sum(row.crash_count for row in rows),
                laps=lap_statistics(rollouts),
            )
        )
    standings.sort(key=_rank)
    result = {
        "race": config.name,
        "track": track.name,
        "reverse_dir": config.reverse_dir,
        "laps": laps,
        "is_continuous": config.evaluation.is_continuous,
        "seed": config.seed,
        "simulator": config.simulator,
        "cars": {
            entry.folder: asdict(config.car or car_of_version(model.version))
            for entry, model in zip(grid, models, strict=True)
        },
        "winner": standings[0].folder,
        "reward_failures": {e.folder: reward.failure for e, reward in zip(grid, own, strict=True) if reward.failure},
        "standings": [asdict(standing) for standing in standings],
    }
    store.put(artifacts.race_result(config.name), (json.dumps(result, indent=2) + "\n").encode())
    console.print(standings_table(standings, f"{config.name} on {track.name}"))
    for entry, reward in zip(grid, own, strict=True):
        if reward.failure:
            told = f"racer {entry.title}: its reward failed and pays 0 from then on; laps decide, so they all count"
            say(console, f"{told}\n{reward.failure}", style="yellow")
    return standings


def drop_race(store: Place, name: str) -> None:
    """Delete what an earlier race of that name has written, videos included; whatever else lies there stays."""
    folder = artifacts.race_folder(name)
    drop_videos(store, folder)
    there = set(store.list(folder))
    racers = {key.removeprefix(folder).partition("/")[0] for key in there}
    written = [artifacts.race_result(name), artifacts.race_params(name), artifacts.race_recording(name)]
    for key_of in (artifacts.race_metrics, artifacts.race_simtrace, artifacts.race_plot):
        written += [key_of(name, racer) for racer in racers]
    for key in written:
        if key in there:
            store.delete(key)
    if isinstance(store, LocalStore):
        drop_empty_folders(store.path(folder.rstrip("/")))


def tournament(grid: Sequence[GridEntry], config: RunConfig, console: Console) -> list[str]:
    """Knock-out by head-to-head races of two; names of all racers from the first place to the last.

    The result is kept anew after each race, without a ranking until the last; a race's own files are whole by then.

    Whoever has no partner in a round goes on without a race. Losers of a round rank by how they did against their
    winners: later rounds first, then by `_rank`.
    """
    for entry in grid:
        checkpoint(entry.run, entry.which)  # before the first race, not in the middle
    left, ranking, races = list(grid), list[str](), list[dict[str, str]]()
    store, earlier = workspace(), _races_of(config.name)
    round_number = 0

    def keep() -> None:
        content = {"tournament": config.name, "track": config.track, "ranking": ranking, "races": races}
        store.put(artifacts.race_result(config.name), (json.dumps(content, indent=2) + "\n").encode())

    while len(left) > 1:
        round_number += 1
        winners, losers = ([left[-1]] if len(left) % 2 else []), list[tuple[Standing, GridEntry]]()
        for first, second in zip(left[0 : len(left) // 2 * 2 : 2], left[1::2], strict=True):
            name = f"{config.name}-round{round_number}-{first.folder}-{second.folder}"
            standings = head_to_head([first, second], config.model_copy(update={"name": name}), console)
            winner, loser = (first, second) if standings[0].folder == first.folder else (second, first)
            races.append({"race": name, "winner": winner.folder})
            for old in earlier - {name}:
                drop_race(store, old)
            earlier.clear()
            keep()
            winners.append(winner)
            losers.append((standings[1], loser))
        losers.sort(key=lambda pair: _rank(pair[0]))
        ranking = [entry.folder for _, entry in losers] + ranking
        left = winners
    ranking = [left[0].folder, *ranking]
    keep()
    table = Table("place", "racer", title=f"tournament {config.name}")
    for place, name in enumerate(ranking, 1):
        table.add_row(str(place), name)
    console.print(table)
    return ranking


def _races_of(tournament: str) -> set[str]:
    """Names of the races of an earlier tournament of that name; none where its result does not tell."""
    try:
        found = json.loads(workspace().get(artifacts.race_result(tournament)))
        return {race["race"] for race in found["races"] if is_run_name(race["race"])}
    except (KeyError, TypeError, ValueError):  # none, a race's, or an older version's
        return set()


def _rank(standing: Standing) -> tuple[float, ...]:
    """Most complete laps first, then the furthest in all, then the least time: dropping out early is no short cut."""
    laps = standing.laps
    return -laps.complete, -laps.mean_progress_pct * laps.laps, standing.total_time_s


def _heats_won(driven: Sequence[Sequence[Rollout]], worlds: int, in_a_row: int) -> list[int]:
    """Heats that each racer finished first: with all laps complete, in the least time."""
    won = [0] * len(driven)
    for world in range(worlds):
        times = []
        for r, rollouts in enumerate(driven):
            mine = [lap for lap in rollouts if lap.episode // in_a_row == world]
            if sum(lap.progress_pct == 100.0 for lap in mine) == in_a_row:
                times.append((sum(lap.time_s for lap in mine), r))
        if times:
            won[min(times)[1]] += 1
    return won


def standings_table(standings: Sequence[Standing], title: str) -> Table:
    """The result of a race, the winner first."""
    table = Table(title=title)
    for column in ("place", "racer", "laps", "heats won", "total", "mean lap", "best lap", "crashes", "resets a lap"):
        table.add_column(column, justify="left" if column == "racer" else "right")
    for place, standing in enumerate(standings, 1):
        laps = standing.laps
        table.add_row(
            str(place),
            standing.racer,
            f"{laps.complete}/{laps.laps}",
            str(standing.heats_won),
            f"{standing.total_time_s:.2f} s",
            _seconds(laps.mean_lap_time_s),
            _seconds(laps.best_lap_time_s),
            str(standing.crashes),
            f"{laps.resets_a_lap:.2f}",
        )
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
