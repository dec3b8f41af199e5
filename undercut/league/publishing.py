"""A league's page with its maps and videos, in the league's place or copied to a folder."""

from pathlib import Path

from rich.console import Console

from contract.recording import Recording
from contract.stores.local import LocalStore
from simapp.scene.views import PIP
from undercut.league.league import PAGE, STANDINGS, VIDEOS, League
from undercut.league.results import Place, Standings
from undercut.line.limits import kept_limit
from undercut.video.lap_video import check_views
from undercut.video.videos import MAX_S, VideoSource, write_videos


def publish(
    league: League, console: Console, video: bool = True, view: str = PIP, out: Path | None = None
) -> Standings:
    """Rank by the results that there are, draw what is missing, and write standings.json, videos and page; `out` gets a
    copy of the three. Returns the ranking."""
    from undercut.report.league import Shown, league_page

    check_views([view])
    standings = league.standings(console)
    shown = []
    for place in standings.ranking[: league.rules.shown]:
        recording = league.recording(place.result.name)
        if recording is not None:
            shown.append(Shown(place, recording, _video(league, place, recording, view, video, console)))
    versions = {it.result.version for it in standings.ranking}
    limits = {it: kept_limit(league.track, league.rules.car_for(it)) for it in versions}
    page = league_page(standings, league.track, limits, shown)
    league.place.put(PAGE, page.encode())
    kept = {it.video for it in shown}
    for key in league.place.list(VIDEOS):
        if key not in kept and key.endswith(".mp4") and video:
            league.place.delete(key)
    if out is not None:
        copy = LocalStore(out)
        for key in (STANDINGS, *sorted(kept - {""}), PAGE):
            copy.put(key, league.place.get(key))
    return standings


def _video(league: League, place: Place, recording: Recording, view: str, wanted: bool, console: Console) -> str:
    """Its key, drawn if it is not there; empty without one."""
    result = place.result
    key = f"{VIDEOS}{result.name}-{view}-{result.fingerprint[:8]}.mp4"
    if not league.place.exists(key):
        if not wanted:
            return ""
        source = VideoSource(recording, league.track, league.place, lambda _, __: key)
        write_videos(source, console, [view], [result.best.number], most_s=MAX_S)
    return key
