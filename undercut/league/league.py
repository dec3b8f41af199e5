"""A league in its place: what is submitted, driving it one submission after the other, and what that leaves.

league.yaml  tracks/  submissions/NAME.tar.gz         what people put there
results/NAME.json  recordings/NAME.rec                what each submission drove; written whole, so that a run that is
limits.json                                           killed goes on with what is missing
standings.json  index.html  videos/                   made of these by `publish`, for a web server or a folder
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from contract import artifacts
from contract.car import Car
from contract.config import RUN_NAME_RULE, is_run_name
from contract.errors import InputError, StoreError
from contract.fields import parse_json, text_of
from contract.host import S3Address
from contract.metrics import evaluation_rows
from contract.protocols import Phase, RolloutOrder
from contract.protocols import Place as StorePlace
from contract.recording import RecordedRacer, Recording, recorded
from contract.rollout import Rollout
from contract.stores.local import LocalStore
from contract.vehicle import CAR_COLORS
from simapp.scene.views import PIP
from simapp.tracks import Track
from undercut.backends.local.rollouts import laps_of
from undercut.league.bundle import check_size, reason_of
from undercut.league.results import LeagueLap, Place, Standings, State, SubmissionResult
from undercut.league.rules import RULES, LeagueFile
from undercut.league.sandbox import JailedPolicy, SubmissionError
from undercut.line.limits import found_limit, kept_limit
from undercut.runs.compiling import compile_for
from undercut.runs.pretraining import S3
from undercut.runs.run import track_of
from undercut.runs.workspace import bucket_place
from undercut.terminal import say
from undercut.video.lap_video import check_views
from undercut.video.videos import MAX_S, VideoSource, write_videos

SUBMISSIONS, RESULTS, RECORDINGS, VIDEOS = "submissions/", "results/", "recordings/", "videos/"
STANDINGS, PAGE, LIMITS = "standings.json", "index.html", "limits.json"
SUFFIX = ".tar.gz"
_NAME_RULE = f"a submission is submissions/NAME{SUFFIX}; a name is {RUN_NAME_RULE}"


def place_of_league(where: str) -> StorePlace:
    """The place that a folder or s3://bucket/prefix names."""
    if where.startswith(S3):
        return bucket_place(S3Address.parse(where, "league"))
    return LocalStore(Path(where))


@dataclass(frozen=True, slots=True)
class League:
    """An existing league: its rules, its track in driving direction, and its place."""

    rules: LeagueFile
    track: Track
    place: StorePlace
    digest: str
    _files: dict[tuple[str, int, float], bytes] = field(default_factory=dict)
    """SHA-256 of submissions by name, size and time: each is read for it once."""

    @classmethod
    def open(cls, where: str) -> "League":
        """InputError when there is none, or its rules are not right."""
        place = place_of_league(where)
        try:
            content = place.get(RULES)
        except KeyError:
            rule = f"a league is a folder or s3://bucket/prefix with a {RULES}"
            raise InputError(
                "league", where, rule, f"undercut league init {shlex.quote(where)} --track TRACK"
            ) from None
        rules = LeagueFile.parse(text_of(content, place.where(RULES)), place.where(RULES))
        track = track_of(place, rules.track)
        if rules.reverse_dir:
            track = track.reversed()
        from undercut import __version__

        return cls(rules, track, place, rules.digest(track, str(__version__)))

    # --- what is submitted ---

    def submissions(self) -> list[str]:
        """File names below submissions/, sorted; of a folder there its name with a slash."""
        found = {key.removeprefix(SUBMISSIONS) for key in self.place.list(SUBMISSIONS)}
        shown = {f"{it.partition('/')[0]}/" if "/" in it else it for it in found}
        return sorted(it for it in shown if not it.startswith("."))

    def submit(self, name: str, content: bytes, overwrite: bool) -> str:
        """Put a model's file in, once it is clear that it can drive; where it is. InputError says why it cannot."""
        if not is_run_name(name):
            raise InputError("--as", name, RUN_NAME_RULE, "give another name")
        key = f"{SUBMISSIONS}{name}{SUFFIX}"
        if self.place.exists(key) and not overwrite:
            rule = "one submission a name"
            raise InputError("--as", name, rule, "give --overwrite to replace it, or another name")
        check_size(len(content), name, self.rules.limits)
        try:
            with JailedPolicy(content, name, self.rules.limits):
                pass
        except SubmissionError as error:
            rule = "a submission drives by the league's rules"
            raise InputError(f"submission {name}", error.reason, rule, "docs/league.md says what one is") from None
        self.place.put(key, content)
        return self.place.where(key)

    # --- driving it ---

    def results(self) -> list[SubmissionResult]:
        """Of all submissions that are there now, as far as they are known."""
        found = (self._known(name) for name in self.submissions())
        return [it for it in found if it is not None]

    def run(self, console: Console, retry: bool = False) -> int:
        """Drive what has no result yet, one after the other, and keep each result as soon as it is there; how many.

        `retry` drives those anew that failed. HeldError while another process runs the league.
        """
        with self.place.locked(RESULTS.rstrip("/")) as results:
            left = []
            for name in self.submissions():
                known = self._known(name)
                if known is None or (retry and known.state == "failed"):
                    left.append(name)
            for name in left:
                result, driven = self._driven(name, console)
                if driven:
                    self.place.put(f"{RECORDINGS}{result.name}.rec", self._recording(result.name, driven).to_bytes())
                if is_run_name(result.name):
                    results.put(f"{result.name}.json", result.to_bytes())
                _show_result(result, console)
            self._forget(results)
        return len(left)

    def _known(self, name: str) -> SubmissionResult | None:
        """A submission's result, if it still counts. What a name alone refuses needs no file."""
        refused = self._misnamed(name)
        if refused is not None:
            return refused
        stem = name.removesuffix(SUFFIX)
        try:
            result = SubmissionResult.parse(self.place.get(f"{RESULTS}{stem}.json"))
        except KeyError:
            return None
        return result if result is not None and result.fingerprint == self._fingerprint(name) else None

    def _misnamed(self, name: str) -> SubmissionResult | None:
        if name.endswith(SUFFIX) and is_run_name(name.removesuffix(SUFFIX)):
            return None
        shown = "".join(it if it.isprintable() else "?" for it in name)[:80]
        return SubmissionResult(name=shown, fingerprint="", state="refused", reason=_NAME_RULE)

    def _fingerprint(self, name: str) -> str:
        """Of the rules and of the file; of one that is too large to be read, of its size."""
        key = f"{SUBMISSIONS}{name}"
        size = self._size(name)
        digest = hashlib.sha256(self.digest.encode())
        if size is None or self._too_large(name, size):
            digest.update(f"size {size}".encode())
        else:
            version = (name, size, self.place.modified_s(key))
            if version not in self._files:
                self._files[version] = hashlib.sha256(self.place.get(key)).digest()
            digest.update(self._files[version])
        return digest.hexdigest()

    def _size(self, name: str) -> int | None:
        """None for what is no plain file, such as a pipe, which would never end."""
        try:
            return self.place.size(f"{SUBMISSIONS}{name}")
        except (KeyError, StoreError):
            return None

    def _too_large(self, name: str, size: int) -> str:
        """The reason, empty for a size that can be read."""
        try:
            check_size(size, name, self.rules.limits)
        except InputError as error:
            return reason_of(error, name)
        return ""

    def _driven(self, name: str, console: Console) -> tuple[SubmissionResult, list[Rollout]]:
        """Every lap of one submission, numbered over all seeds."""
        stem, fingerprint = name.removesuffix(SUFFIX), self._fingerprint(name)
        size = self._size(name)
        reason = "is no plain file" if size is None else self._too_large(name, size)
        if reason:
            return SubmissionResult(name=stem, fingerprint=fingerprint, state="refused", reason=reason), []
        content = self.place.get(f"{SUBMISSIONS}{name}")
        try:
            with JailedPolicy(content, stem, self.rules.limits) as policy:
                compile_for(self.rules.config(0), [policy.metadata], console)
                with console.status(f"{stem} drives"):
                    laps, driven = self._laps(policy)
                facts: dict[str, str | int] = {"bytes": len(content), "found": str(policy.facts.get("found", ""))[:200]}
                facts["actions"] = policy.metadata.actions.size
                for key in ("graph_bytes", "graph_sha256"):
                    facts[key] = _plain(policy.facts.get(key))
                version = policy.metadata.version
        except SubmissionError as error:
            state: State = "refused" if error.refused else "failed"
            return SubmissionResult(name=stem, fingerprint=fingerprint, state=state, reason=error.reason), []
        return SubmissionResult(
            name=stem, fingerprint=fingerprint, state="driven", model=facts, version=version, laps=tuple(laps)
        ), driven

    def _laps(self, policy: JailedPolicy) -> tuple[list[LeagueLap], list[Rollout]]:
        laps, driven = list[LeagueLap](), list[Rollout]()
        for seed in self.rules.seeds:
            order = RolloutOrder(Phase.evaluation, 0, 0, self.rules.laps)
            its = laps_of(self.rules.config(seed), self.track, policy.metadata, lambda: _no_reward, policy, order)
            for lap, row in zip(its, evaluation_rows(its), strict=True):
                laps.append(LeagueLap.of(len(laps) + 1, seed, lap, row))
                driven.append(replace(lap, episode=len(driven)))
        return laps, driven

    def _recording(self, name: str, driven: Sequence[Rollout]) -> Recording:
        colour = CAR_COLORS[int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(CAR_COLORS)]
        return Recording(
            title=name,
            track=self.rules.track,
            reverse_dir=self.rules.reverse_dir,
            track_length_m=self.track.length_m,
            racers=(RecordedRacer(name, "", colour),),
            episodes=tuple(recorded(driven)),
            leaderboard=self.rules.title[:64],
        )

    def _forget(self, results: StorePlace) -> None:
        """Results and recordings of what is no longer submitted."""
        there = {it.removesuffix(SUFFIX) for it in self.submissions()}
        for key in results.list(""):
            if key.endswith(".json") and key.removesuffix(".json") not in there:
                results.delete(key)
                self.place.delete(f"{RECORDINGS}{key.removesuffix('.json')}.rec")

    # --- what it leaves ---

    def recording(self, name: str) -> Recording | None:
        """What a submission drove; None where the file is gone or is none."""
        key = f"{RECORDINGS}{name}.rec"
        try:
            return Recording.from_bytes(self.place.get(key), self.place.where(key))
        except (KeyError, InputError):
            return None

    def standings(self, console: Console) -> Standings:
        """The ranking by the results that there are; also written to standings.json."""
        results = self.results()
        versions = sorted({it.version for it in results if it.state == "driven"})
        limits_s = {it: self._limit_s(it, console) for it in versions}
        standings = Standings.of(self.rules, results, limits_s, len(self.submissions()) - len(results))
        self.place.put(STANDINGS, (json.dumps(standings.as_json(), indent=2, allow_nan=False) + "\n").encode())
        return standings

    def _limit_s(self, version: int, console: Console) -> float | None:
        """Of the car of a version, found once a league: the next machine takes what is written there."""
        car = self.rules.car_for(version)
        kept, asked = self._limits(), _limit_key(self.track, car)
        if asked not in kept:
            with console.status("the fastest possible lap") as status:
                found = found_limit(self.track, car, lambda text: status.update(f"the fastest possible lap: {text}"))
            if found is None:
                return None
            kept[asked] = found.lap_s
            self.place.put(LIMITS, (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode())
        return kept[asked]

    def _limits(self) -> dict[str, float]:
        try:
            read = parse_json(text_of(self.place.get(LIMITS), LIMITS), LIMITS, "delete the file")
        except (KeyError, InputError):
            return {}
        return {key: float(it) for key, it in read.items() if isinstance(it, float)} if isinstance(read, dict) else {}


def init(where: str, text: str, track: Track, name: str) -> StorePlace:
    """Make a league of the text of a league.yaml, with the track's route if it is no shipped one. InputError where
    there is one already."""
    from simapp.tracks import SHIPPED
    from simapp.worlds.packed import pack
    from undercut.runs.run import route_file

    place = place_of_league(where)
    LeagueFile.parse(text, f"new {RULES}")
    if place.exists(RULES):
        raise InputError("league", where, f"{place.where(RULES)} exists", "edit it, or name another place")
    if track.source != SHIPPED:
        place.put(artifacts.own_track(Path(name).stem), route_file(track))
    if track.world is not None:
        place.put(artifacts.own_world(Path(name).stem), pack(track.world))
    place.put(RULES, text.encode())
    return place


def model_file(source: str, which: str) -> bytes:
    """A submission's file of a run, a model's folder, an archive or s3://bucket/prefix: the network that drives and its
    metadata, nothing else. An archive is taken as it is."""
    from trainer.common.export import car_bundle, what_drives
    from undercut.runs.pretraining import model_folder
    from undercut.runs.run import Run
    from undercut.runs.sessions import chosen_policy

    if not source.startswith(S3) and not Run.exists(source) and Path(source).is_file():
        return Path(source).read_bytes()
    if not source.startswith(S3) and Run.exists(source):
        run = Run.open(source)
        return car_bundle(what_drives(chosen_policy(run, which)[1]), run.files.metadata.complete_json().encode())
    folder = model_folder(source)
    metadata, frozen = folder.metadata(), folder.frozen()
    if metadata is None or frozen is None:
        lacks = "no model_metadata.json" if metadata is None else "no frozen graph (model_N.pb or agent/model.pb)"
        raise InputError(
            source, lacks, "a submission is a network with its metadata", "undercut import it, then submit the run"
        )
    return car_bundle(what_drives(frozen[1]), metadata[1])


def _no_reward(params: dict[str, object]) -> float:
    """Submissions have no reward: laps are all that counts."""
    return 0.0


def _limit_key(track: Track, car: Car) -> str:
    constants = json.dumps(asdict(car), sort_keys=True).encode()
    return hashlib.sha256(constants + np.ascontiguousarray(track.route, "<f8").tobytes()).hexdigest()[:32]


def _plain(value: object) -> str | int:
    """What a jailed process said, as something short."""
    return value if isinstance(value, int) and 0 <= value < 2**53 else str(value)[:80]


def _show_result(result: SubmissionResult, console: Console) -> None:
    if result.state == "driven":
        best_s = result.best_s
        laps = f"{len(result.times_s)} of {len(result.laps)} laps complete"
        outcome = f"{laps}, best {best_s:.3f} s" if best_s is not None else laps
    else:
        outcome = f"{result.state}: {result.reason}"
    say(console, f"{result.name}: {outcome}")


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
