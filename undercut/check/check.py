"""`undercut check`: a racer's files, each read by what trains with them, and the reward function tried on a lap."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contract import artifacts
from contract.config import RaceConfig, RunConfig
from contract.errors import InputError, InputWarning, RewardError
from contract.fields import read_text
from contract.hyperparameters import Hyperparameters
from contract.metadata import ContinuousActions, ModelMetadata
from contract.params import beside_ours
from contract.yamlfile import YamlEntry, read_entries
from simapp.reward import RewardFunction
from simapp.reward_service.service import RewardService
from simapp.reward_source import load_reward
from simapp.tracks import Track, load_track
from undercut.analysis.files import minio_folder
from undercut.check.driven import check_drives, doubt, refusal
from undercut.check.finding import CheckFinding
from undercut.check.lap import Trial, drive_lap
from undercut.check.source import check_source
from undercut.runs.packages import folder_for
from undercut.runs.params_files import load_params, load_race
from undercut.runs.run import DEFAULT_METADATA, TRACKS, RacerFiles

REWARDS = (artifacts.REWARD_FUNCTION, "reward.py", "custom_files/reward_function.py", "custom_files/reward.py")
ENV_FILES = ("run.env", "config.env")
"""deepracer-for-cloud's, and deepracer-local's."""
TRAINING_PARAMS = (artifacts.TRAINING_PARAMS, "training_params.yml", *ENV_FILES)
DESCRIPTIONS = ("reward.yaml", "reward.json", artifacts.REWARD_DESCRIPTION)
METADATA = ("model_metadata.json", artifacts.MODEL_METADATA, "custom_files/model_metadata.json")
HYPERPARAMETERS = (
    *("hyperparameters.json", artifacts.HYPERPARAMETERS, "custom_files/hyperparameters.json", "hyperparams.json"),
)


@dataclass(frozen=True, slots=True)
class Given:
    """The files to check; None for one that there is not."""

    reward: Path | None = None
    metadata: Path | None = None
    hyperparameters: Path | None = None
    params: tuple[Path, ...] = ()

    @property
    def training_params(self) -> Path | None:
        """The file that says how to train, by its name."""
        return next((path for path in self.params if path.name in TRAINING_PARAMS), None)

    @classmethod
    def in_folder(cls, folder: Path, where: str = "folder", reward: Path | None = None) -> "Given":
        """What lies in a racer's folder, in a run's, or in deepracer-for-cloud's; InputError where nothing does.

        `where` is the argument, option or key that names the folder; `reward` goes before those that lie there.
        """
        if not folder.is_dir():
            fix = "undercut new NAME writes one, or name the files: --reward FILE --metadata FILE"
            raise InputError(where, str(folder), "a folder with a racer's files", fix)
        reward = reward or _first(folder, REWARDS) or _only_reward(folder, where) or _first(folder, DESCRIPTIONS)
        env = [folder / name for name in ENV_FILES if (folder / name).is_file()]
        params = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml"), *env])
        found = cls(
            reward,
            _first(folder, METADATA),
            _first(folder, HYPERPARAMETERS),
            tuple(path for path in params if path != reward),
        )
        if found == cls():
            objects = [path.parent.name for path in sorted(folder.glob("*/xl.meta"))]
            if objects:
                raise minio_folder(objects, str(folder))
            rule = "a folder with reward_function.py, model_metadata.json, hyperparameters.json or a .yaml"
            raise InputError(where, str(folder), rule, "undercut new NAME writes one")
        return found


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _only_reward(folder: Path, where: str) -> Path | None:
    """The one .py that defines a reward function, whatever its name."""
    found = [path for path in sorted(folder.glob("*.py")) if "def reward_function" in path.read_text(errors="ignore")]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        fix = f"name the one with --reward FILE (in a sweep's file: files.reward), such as {found[0]}"
        raise InputError(f"{where} {folder}", names, "one reward function in a folder", fix)
    return found[0] if found else None


@dataclass(slots=True)
class CheckReport:
    """What came out. `drives` are rows of the table of drives."""

    findings: list[CheckFinding] = field(default_factory=list)
    drives: list[dict[str, Any]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    call_s: float | None = None
    took_s: float = 0.0

    def count(self, level: str) -> int:
        return sum(found.level == level for found in self.findings)

    def as_values(self) -> dict[str, Any]:
        """For JSON; non-finite numbers do not occur."""
        return {**asdict(self), "ok": self.count("fail") == 0}


def check(given: Given, track: str | None = None, strict: bool = False, verbose: bool = False) -> CheckReport:
    """Read and try everything. `track` goes before what the files of run parameters say.

    `strict` refuses unknown keys and what is outside of the console's form, else warnings; `verbose` names the
    keys without an effect here.
    """
    begun, report = time.perf_counter(), CheckReport()
    metadata = _metadata(given.metadata, report, strict)
    _hyperparameters(given.hyperparameters, metadata, report, strict)
    configs = [config for path in given.params for config in _params(path, report, strict, verbose)]
    config = next(iter(configs), RunConfig.build({"name": "check"}, "check"))
    road = _track(track or config.track, given, report)
    if given.reward is not None:
        _reward(given.reward, metadata, config, road, report)
    report.took_s = round(time.perf_counter() - begun, 2)
    return report


@contextmanager
def _doubting(path: Path, report: CheckReport) -> Iterator[None]:
    """What a file is warned of becomes findings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            messages = dict.fromkeys(str(it.message) for it in caught if issubclass(it.category, InputWarning))
            report.findings += [doubt(text, str(path)) for text in messages]


def _metadata(path: Path | None, report: CheckReport, strict: bool) -> ModelMetadata | None:
    if path is None:  # the actions that a training takes then
        return ModelMetadata.load(DEFAULT_METADATA)
    try:
        with _doubting(path, report):
            metadata = ModelMetadata.load(path, strict or beside_ours(path), strict)
    except InputError as error:
        report.findings.append(refusal(error))
        return None
    actions = metadata.actions
    if isinstance(actions, ContinuousActions):
        (left, right), (slow, fast) = actions.steering_deg, actions.speed_mps
        summary = f"any steering from {left:g} to {right:g} degrees, {slow:g} to {fast:g} m/s"
    else:
        left, right = float(actions.steering_deg.min()), float(actions.steering_deg.max())
        slow, fast = float(actions.speed_mps.min()), float(actions.speed_mps.max())
        summary = f"{actions.size} actions, {left:g} to {right:g} degrees, {slow:g} to {fast:g} m/s"
    summary += f"; {', '.join(metadata.sensors)}; {metadata.algorithm}"
    report.findings.append(CheckFinding("ok", str(path), summary))
    if left > 0.0 or right < 0.0 or (left == right == 0.0):
        text = f"steering goes from {left:g} to {right:g} degrees: the car cannot steer to both sides"
        report.findings.append(CheckFinding("warn", str(path), text, "add actions of the other side: left is positive"))
    elif max(-left, right) <= 1.0:
        text = f"steering goes from {left:g} to {right:g}: degrees are meant, up to 30 to each side"
        report.findings.append(CheckFinding("warn", str(path), text, "multiply by 57.3, if these are radians"))
    return metadata


def _hyperparameters(path: Path | None, metadata: ModelMetadata | None, report: CheckReport, strict: bool) -> None:
    if path is None:
        return
    algorithm = metadata.algorithm if metadata else "clipped_ppo"
    try:
        with _doubting(path, report):
            read = Hyperparameters.load(path, algorithm, strict or beside_ours(path), strict)
        if metadata is not None:
            RacerFiles.fit(read, metadata, path)
    except InputError as error:
        report.findings.append(refusal(error))
        return
    summary = f"{algorithm}: batch_size {read.batch_size}, num_epochs {read.num_epochs}, lr {read.lr:g}, "
    summary += f"discount_factor {read.discount_factor:g}, {read.num_episodes_between_training} episodes an iteration"
    report.findings.append(CheckFinding("ok", str(path), summary))
    if read.discount_factor > 0.0 and read.discount_factor < 0.8:
        text = (
            f"discount_factor {read.discount_factor:g}: the car looks {1 / (1 - read.discount_factor):.0f} steps ahead"
        )
        report.findings.append(
            CheckFinding("warn", str(path), text, "15 steps are a second: 0.95 looks 20 steps ahead")
        )


def _params(path: Path, report: CheckReport, strict: bool, verbose: bool) -> Iterator[RunConfig]:
    """The config that a file of run parameters asks for; of a race, what is on its track."""
    asked = True if strict else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # each is told when the file is read in earnest
            entries = {} if path.suffix == ".env" else read_entries(read_text(path, "the file"), str(path), False)
        if any(_is_list(entries.get(key)) for key in ("MODEL_S3_PREFIX", "MODEL_NAME")):
            with _doubting(path, report):
                race = load_race(path, [], asked)
            report.findings.append(CheckFinding("ok", str(path), f"a race of {len(race.racers)} runs"))
            return
        job = entries["JOB_TYPE"].value if "JOB_TYPE" in entries else None
        is_evaluation = str(job).upper() == "EVALUATION" if job else "evaluation" in path.name
        with _doubting(path, report):
            read = load_params(path, "EVALUATION" if is_evaluation else "TRAINING", asked)
        values = read.over({"name": read.model or "check"})
        config = RunConfig.build(values, str(path))
    except InputError as error:
        report.findings.append(refusal(error))
        return
    doing = "an evaluation" if is_evaluation else "a training"
    worlds = ", ".join(f"{world.track}, {world.race.race_type}" for world in config.each_world())
    report.findings.append(CheckFinding("ok", str(path), f"{doing} on {worlds}"))
    if verbose and read.unused:
        report.findings.append(CheckFinding("note", str(path), f"without effect here: {', '.join(read.unused)}"))
    yield config


def _is_list(entry: YamlEntry | None) -> bool:
    """Whether it is one value for each of several racers; a list of one is a value."""
    return entry is not None and isinstance(entry.value, list) and len(entry.value) > 1


def _track(name: str, given: Given, report: CheckReport) -> Track | None:
    try:
        return load_track(name, [TRACKS])
    except InputError as error:
        places = [str(path) for path in given.params]
        found = refusal(error)
        where = f"{places[0]}: WORLD_NAME" if places else "--track"
        report.findings.append(CheckFinding("fail", where, found.text, error.fix))
        return None


def _reward(
    path: Path, metadata: ModelMetadata | None, config: RunConfig, road: Track | None, report: CheckReport
) -> None:  # fmt: skip
    try:
        function = load_reward(path, folder_for(path))
    except InputError as error:
        report.findings.append(refusal(error))
        return
    track = road or load_track("paddock")
    track = track.reversed() if config.reverse_dir else track
    race: RaceConfig = config.race
    has_objects = race.race_type != "TIME_TRIAL" or bool(race.number_of_obstacles or race.object_positions)
    try:
        trial = drive_lap(function, track, metadata, race, config.reverse_dir)
    except InputError as error:  # objects that do not fit on the track
        report.findings.append(refusal(error))
        return
    except RewardError as error:
        report.findings.append(CheckFinding("fail", str(path), str(error), "correct the line"))
        return
    finally:
        if isinstance(function, RewardService):
            function.close()
    known = trial.drives[0].params[0]
    is_python = isinstance(function, RewardFunction)
    found = []
    if is_python:
        found = check_source(function.source, str(path), known, metadata, road, race.objects_heading_in)
    absent = {key for key in trial.absent if any(repr(key) in finding.text for finding in found)}
    report.findings += [*check_drives(trial, path, has_objects, absent), *found]
    report.reads, report.unread = sorted(trial.read), sorted(set(known) - trial.read)
    report.drives = [_row(trial, number) for number in range(len(trial.drives))]
    if trial.seconds:
        report.call_s = sorted(trial.seconds)[len(trial.seconds) // 2]


def _row(trial: Trial, number: int) -> dict[str, Any]:
    drive = trial.drives[number]
    paid = drive.rewards
    return {
        "drive": drive.name,
        "ends": drive.status.name if drive.status is not None else "failed",
        "steps": len(drive.params),
        "lowest": min(paid, default=None),
        "mean": sum(paid) / len(paid) if paid else None,
        "highest": max(paid, default=None),
        "sum": sum(paid),
    }
