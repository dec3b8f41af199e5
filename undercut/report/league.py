"""The page of a league: the ranking, the best laps on the track with their videos, and who is not ranked and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from contract.metrics import whole_pct
from contract.recording import RecordedEpisode, Recording
from contract.state import EpisodeStatus, FloatArray
from simapp.tracks import Track
from undercut.analysis.limit import Limit
from undercut.analysis.log import Episode, Kind, RunLog
from undercut.analysis.measures import driven
from undercut.analysis.tables import Column, Table, number
from undercut.league.results import Place, Standings
from undercut.report.canvas import RUNS, Picture, picture
from undercut.report.gaps import gap_pictures
from undercut.report.maps import Map, speed_picture
from undercut.report.page import Film, Section, facts, figures, films, page, pictures, table

_RANKED_BY = {"best_lap": "best lap", "mean_lap": "mean of all laps"}
_FOOTER = (
    "Made by undercut. Every submission drives the same laps: same track, rules, car and seeds. Times are simulated "
    "seconds with penalties; rewards play no part."
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A submission with a map: its place, what it drove, and the relative address of its video (none: empty)."""

    place: Place
    recording: Recording
    video: str

    def best(self) -> RecordedEpisode:
        """Its best lap."""
        return self.recording.episodes[self.place.result.best.number - 1]


def league_page(standings: Standings, track: Track, limits: Mapping[int, Limit | None], shown: Sequence[Shown]) -> str:
    """The whole page, as HTML that loads nothing but the videos beside it. `limits` are by version of models."""
    rules = standings.rules
    car = rules.car if isinstance(rules.car, str) else rules.car.name
    lead = facts(
        [
            ("track", f"{rules.track}, {track.length_m:.2f} m{', the other way round' if rules.reverse_dir else ''}"),
            ("race", rules.race.race_type.replace("_", " ").lower()),
            ("ranked by", _RANKED_BY[rules.rank_by]),
            ("laps", f"{rules.laps} with each seed of {', '.join(map(str, rules.seeds))}"),
            ("car", "the one of each model's version" if car == "own" else car),
        ]
    )
    sections = [Section("ranking", "Ranking", _headline(standings) + _ranking(standings))]
    if shown:
        sections.append(Section("laps", "Best laps", _laps(track, limits, shown)))
        sections.append(
            Section("racers", "One by one", films([_film(place, it, track) for place, it in enumerate(shown)]))
        )
    if standings.others:
        sections.append(Section("others", "Not ranked", _others(standings)))
    return page(rules.title, lead, sections, _FOOTER)


def _headline(standings: Standings) -> str:
    items = [
        (str(len(standings.ranking)), "ranked", ""),
        (str(len(standings.others)), "not ranked", "the reasons are below" if standings.others else ""),
    ]
    if standings.waiting:
        items.append((str(standings.waiting), "waiting", "not driven by these rules yet"))
    if standings.ranking and (first := standings.ranking[0]).result.best_s is not None:
        name, limit_s = first.result.name, first.limit_s
        fastest = min(standings.ranking, key=lambda it: it.result.best_s or np.inf)
        items.insert(0, (name, "leads", f"by its {_RANKED_BY[standings.rules.rank_by]}"))
        items.insert(1, (f"{number(fastest.result.best_s, 2)} s", "fastest lap", f"of {fastest.result.name}"))
        if limit_s is not None:
            items.insert(2, (f"{limit_s:.2f} s", "the limit", "the fastest lap that the car can drive"))
    return figures(items)


def _ranking(standings: Standings) -> str:
    ranked_by = _RANKED_BY[standings.rules.rank_by]
    columns = [
        Column("place", f"By the {ranked_by}; equals share one."),
        Column("name", "Of the submission.", left=True),
        Column("best lap", "Seconds of the fastest complete lap, penalties included."),
        Column("mean lap", "Seconds, of all complete laps."),
        Column("complete", "Laps that were completed, of all that were driven."),
        Column("to the leader", f"Seconds, in the {ranked_by}."),
        Column("to the limit", "Seconds of the best lap beyond the fastest lap that the car can drive."),
        Column("limits", "The best lap's time over the limit's."),
        Column("resets", "How often a car was put back on the road, over all laps."),
        Column("crashes", "Of them, into objects."),
        Column("actions", "Outputs of the network."),
        Column("network", "MB of its frozen graph."),
    ]
    return table(Table(columns, [_row(it) for it in standings.ranking]), sortable=True)


def _row(place: Place) -> list[str]:
    result = place.result
    size = result.model.get("graph_bytes")
    return [
        str(place.place),
        result.name,
        number(result.best_s, 3),
        number(result.mean_s, 3),
        f"{len(result.times_s)}/{len(result.laps)}",
        "" if place.to_leader_s is None else f"{place.to_leader_s:+.3f}",
        "" if place.to_limit_s is None else f"{place.to_limit_s:+.3f}",
        number(place.of_limit, 2),
        str(sum(lap.resets for lap in result.laps)),
        str(sum(lap.crashes for lap in result.laps)),
        str(result.model.get("actions", "")),
        number(size / 1e6, 1) if isinstance(size, int) else "",
    ]


def _others(standings: Standings) -> str:
    columns = [
        Column("name", "Of the file in submissions/.", left=True),
        Column("state", "refused: by a rule, before it drove; failed: by its process, memory or time.", left=True),
        Column("reason", "What is wrong, and the rule.", left=True, wraps=True),
    ]
    return table(Table(columns, [[it.name, it.state, it.reason] for it in standings.others]))


def _log(track: Track, laps: Sequence[Episode], limit: Limit | None) -> RunLog:
    return RunLog("league", "", tuple(laps), {}, track=track, limit=limit)


def _episode(shown: Shown, track: Track) -> Episode:
    """Its best lap."""
    lap = shown.best()
    last = lap.steps[-1]
    return Episode(
        kind=Kind.evaluation,
        number=shown.place.result.best.number - 1,
        iteration=0,
        reward=0.0,
        completion_pct=float(last["progress_pct"]),
        time_s=float(last["time_s"]),
        outcome=EpisodeStatus(int(last["status"])),
        steps=lap.steps,
        numbers=np.arange(1, len(lap.steps) + 1),
        track_length_m=track.length_m,
    )


def _laps(track: Track, limits: Mapping[int, Limit | None], shown: Sequence[Shown]) -> str:
    """All on one map, and what the leader loses."""
    leader = shown[0]
    log = _log(track, [_episode(leader, track)], limits.get(leader.place.result.version))
    place = Map(log)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        place.draw(axes)
        for k, it in enumerate(shown):
            steps, colour = it.best().steps, RUNS[k % len(RUNS)]
            style = "-" if k < len(RUNS) else "--"
            x, y = _without_jumps(steps)
            axes.plot(x, y, style, color=colour, linewidth=1.8, label=it.place.result.name, zorder=5)
        figure.legend(loc="outside lower center", ncols=min(len(shown), 4))

    height_in = place.height_in(0.3 + 0.25 * -(-len(shown) // 4))
    together = picture("league-laps", "The best laps", f"Of the first {len(shown)}; gaps are resets.", draw, height_in)
    return pictures([together, *gap_pictures(log)])


def _without_jumps(steps: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Places of a lap's steps with a gap where the car was put elsewhere."""
    jumps = 1 + np.flatnonzero(~driven(steps)[0])
    x, y = (np.insert(steps[name].astype(np.float64), jumps, np.nan) for name in ("x_m", "y_m"))
    return x, y


def _film(place: int, shown: Shown, track: Track) -> Film:
    result = shown.place.result
    lap = _episode(shown, track)
    drawn = _speed(place, lap, track)
    how = f"{lap.time_s:.2f} s" if lap.complete else f"{whole_pct(lap.completion_pct)} % of a lap"
    caption = f"Its best lap, {how}, number {result.best.number} of {len(result.laps)}; coloured by the speed driven."
    return Film(f"{shown.place.place}. {result.name}", caption, shown.video, drawn.svg)


def _speed(place: int, lap: Episode, track: Track) -> Picture:
    return speed_picture(_log(track, [lap], None), [lap], f"league-speed-{place}", "Speed driven", "")
