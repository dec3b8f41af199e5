"""A run in its place, `runs/NAME/`: with the racer's files as they were, so that it can be repeated and resumed."""

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contract import artifacts
from contract.config import RunConfig, is_run_name
from contract.errors import InputError, InputWarning
from contract.fields import suggestion, text_of
from contract.hyperparameters import Hyperparameters
from contract.metadata import DiscreteActions, ModelMetadata
from contract.params import (
    beside_ours,
    evaluation_params,
    read_evaluation_params,
    read_training_params,
    training_params,
)
from contract.protocols import Place
from contract.yamlfile import Value
from simapp.reward_source import RewardSource, load_reward
from trainer.checkpoints import Checkpoints
from trainer.iterations import IterationRow, read_iterations
from undercut.runs.packages import Locked, installed, locked_for
from undercut.runs.workspace import RUNS_PREFIX, real_folder, run_place, workspace

if TYPE_CHECKING:
    from simapp.tracks import Track

TRACKS = Path("tracks")
"""Racers' own tracks, in the working directory."""

_HERE = Path(__file__).resolve().parents[2]
DEFAULT_REWARD = _HERE / "rewards" / "follow_center_line.py"
DEFAULT_METADATA = _HERE / "actions" / "default.json"
DEFAULT_HYPERPARAMETERS = _HERE / "actions" / "hyperparameters.json"
DEFAULT_SAC_HYPERPARAMETERS = _HERE / "actions" / "hyperparameters_sac.json"


@dataclass(frozen=True, slots=True)
class RacerFiles:
    """The files a racer brings, read and valid; the packages that the reward asks for are installed."""

    reward: RewardSource
    metadata: ModelMetadata
    hyperparameters: Hyperparameters
    packages: Locked | None = None

    @classmethod
    def load(cls, reward: Path, metadata: Path, hyperparameters: Path, packages: Locked | None = None) -> "RacerFiles":
        """Unknown keys are refused in a folder of `undercut new`, and only told in files from elsewhere."""
        meta = ModelMetadata.load(metadata, beside_ours(metadata))
        hyper = Hyperparameters.load(hyperparameters, meta.algorithm, beside_ours(hyperparameters))
        cls.fit(hyper, meta, hyperparameters)
        return cls(load_reward(reward, installed(packages) if packages else None), meta, hyper, packages)

    @staticmethod
    def fit(hyper: Hyperparameters, meta: ModelMetadata, where: Path) -> None:
        """InputError unless the hyperparameters, read from `where`, fit the action space."""
        if hyper.exploration_type == "e-greedy" and not isinstance(meta.actions, DiscreteActions):
            raise InputError(
                f"{where}: exploration_type",
                "e-greedy",
                "a share of random actions needs discrete ones; continuous actions are sampled",
                'write "categorical"',
            )

    @classmethod
    def of(cls, store: Place) -> "RacerFiles":
        """Those of a run; what there was to say of them was said when it was made."""
        reward, keys = artifacts.REWARD_FUNCTION, [artifacts.MODEL_METADATA, artifacts.HYPERPARAMETERS]
        if store.exists(artifacts.REWARD_DESCRIPTION):
            reward, keys = artifacts.REWARD_DESCRIPTION, [*keys, *store.list(artifacts.REWARD_FILES)]
        folder = real_folder(store, [reward, *keys], ".py")
        metadata, hyperparameters = (folder / key for key in keys[:2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            return cls.load(folder / reward, metadata, hyperparameters, Locked.of(store))

    def kept(self) -> dict[str, bytes]:
        """What a run keeps of reward and packages, by key."""
        return {**self.reward.files(), **(self.packages.files() if self.packages else {})}


@dataclass(frozen=True, slots=True)
class Run:
    """An existing run: its config, its racer's files and the store that holds everything it writes."""

    config: RunConfig
    files: RacerFiles
    store: Place

    @property
    def preset(self) -> Path | None:
        """The racer's preset as a file, where the run has one."""
        if not self.store.exists(artifacts.PRESET):
            return None
        return real_folder(self.store, [artifacts.PRESET]) / artifacts.PRESET

    def iterations(self) -> list[IterationRow]:
        """What was trained so far, a row an iteration: steps, reward, completion, losses."""
        return read_iterations(self.store)

    def driven_as(self, config: RunConfig) -> "Run":
        """The same run, about to be driven by another config."""
        return replace(self, config=config)

    def track(self) -> "Track":
        """The track of its config, in its driving direction."""
        track = track_of(self.store, self.config.track)
        return track.reversed() if self.config.reverse_dir else track

    @staticmethod
    def exists(name: str) -> bool:
        return is_run_name(name) and run_place(name).exists(artifacts.RUN_CONFIG)

    @classmethod
    def create(
        cls,
        config: RunConfig,
        reward: Path,
        metadata: Path,
        hyperparameters: Path,
        carried: Mapping[str, Value] | None = None,
        place: Place | None = None,
        preset: Path | None = None,
        requirements: Path | None = None,
    ) -> "Run":
        """Check everything first, then write; run.json comes last, so a run that has one is whole.

        It is written to `place`, by default runs/NAME. `carried` are keys of a training_params.yaml that have no
        effect here and are written back (RunParams.carried). `preset` is a racer's file that chooses networks or
        algorithm (trainer.coach.preset). `requirements` names packages that the reward imports, by default a
        requirements.txt beside it.
        """
        from simapp.tracks import SHIPPED, load_track  # numba takes a second to import; --help should not
        from simapp.worlds.packed import pack

        files = RacerFiles.load(reward, metadata, hyperparameters, locked_for(reward, requirements))
        tracks = {world.track: load_track(world.track, [TRACKS]) for world in (config, *config.each_world())}
        if preset is not None:
            _check_preset(preset, files)
        store = place or run_place(config.name)
        store.put(artifacts.MODEL_METADATA, metadata.read_bytes())
        store.put(artifacts.HYPERPARAMETERS, files.hyperparameters.to_json().encode())
        if preset is not None:
            store.put(artifacts.PRESET, preset.read_bytes())
        for key, content in files.kept().items():
            store.put(key, content)
        for name, track in tracks.items():
            if track.source != SHIPPED:
                store.put(artifacts.own_track(Path(name).stem), route_file(track))
            if track.world is not None:
                store.put(artifacts.own_world(Path(name).stem), pack(track.world))
        run = cls(config, files, store)
        run.write_config(carried or {})
        return run

    @classmethod
    def open(cls, name: str, place: Place | None = None) -> "Run":
        """The run in runs/NAME, or in `place`; InputError with the runs that exist when there is none of that name."""
        if place is None and not Run.exists(name):
            known = run_names()
            rule = (
                f"a run in {workspace().where(RUNS_PREFIX.rstrip('/'))}/ (there are: {', '.join(known) or 'none yet'})"
            )
            raise InputError("run", name, rule, other_run(name, known))
        store = place or run_place(name)
        text = text_of(store.get(artifacts.RUN_CONFIG), store.where(artifacts.RUN_CONFIG))
        return cls(RunConfig.from_json(text, store.where(artifacts.RUN_CONFIG)), RacerFiles.of(store), store)

    def remake(self, config: RunConfig, carried: Mapping[str, Value] | None = None) -> "Run":
        """The same run with other limits; what decides its numbers must be unchanged."""
        fixed = (
            *("name", "track", "reverse_dir", "simulator", "race", "enable_domain_randomization", "randomization"),
            *("seed", "cars", "pretrained", "pretrained_checkpoint", "remap_actions", "worlds", "learning"),
        )
        for key in fixed:
            if getattr(config, key) != getattr(self.config, key):
                raise InputError(
                    f"run {config.name}: {key}",
                    getattr(config, key),
                    f"a resumed run keeps its {key}: {getattr(self.config, key)!r}",
                    "choose another run name, or leave the option out",
                )
        run = Run(config, self.files, self.store)
        run.write_config(carried or {})
        return run

    def has_learned(self) -> bool:
        """Whether there is a finished iteration, or a model that it was imported with."""
        return Checkpoints(self.store).last() is not None

    def or_kept(self, given: Sequence[Path | None]) -> list[Path | None]:
        """Reward, metadata, hyperparameters, preset and requirements: those given, else the run's own copies. A new
        reward comes with its own requirements."""
        reward = self.files.reward.path
        keys = (artifacts.MODEL_METADATA, artifacts.HYPERPARAMETERS, artifacts.PRESET, artifacts.REQUIREMENTS)
        folder = real_folder(self.store, keys)
        is_beside = given[0] is not None or (reward.parent / artifacts.REQUIREMENTS_LOCK).is_file()
        kept = [
            folder / key if self.store.exists(key) else None for key in (*keys[:3], *([] if is_beside else keys[3:]))
        ]
        return [mine or own for mine, own in zip(given, [reward, *kept, None], strict=False)]

    def drop_files_of(self, earlier: "Run") -> None:
        """Delete what `earlier` kept in this run's place and this one does not, and what an iteration of it began."""
        left = set(earlier.files.kept()) - set(self.files.kept())
        for key in (*left, artifacts.ITERATIONS, artifacts.TRAINING_METRICS):
            self.store.delete(key)

    def write_evaluation_params(self, config: RunConfig, carried: Mapping[str, Value] | None = None) -> None:
        """Say what an evaluation was driven with, where that is not the run's own config."""
        kept = self._carried(artifacts.EVALUATION_PARAMS)
        self.store.put(artifacts.EVALUATION_PARAMS, evaluation_params(config, {**kept, **(carried or {})}).encode())

    def write_config(self, carried: Mapping[str, Value]) -> None:
        """The config in all its files, run.json last; `carried` as for `create`."""
        kept = self._carried(artifacts.TRAINING_PARAMS)
        self.store.put(artifacts.TRAINING_PARAMS, training_params(self.config, {**kept, **carried}).encode())
        self.write_evaluation_params(self.config)
        self.store.put(artifacts.RUN_CONFIG, self.config.to_json().encode())

    def _carried(self, key: str) -> Mapping[str, Value]:
        """What the run's own file of parameters carries along already."""
        if not self.store.exists(key):
            return {}
        read = read_training_params if key == artifacts.TRAINING_PARAMS else read_evaluation_params
        return read(text_of(self.store.get(key), self.store.where(key)), self.store.where(key), strict=False).carried

    def same_files(
        self,
        reward: Path | None,
        metadata: Path | None,
        hyperparameters: Path | None,
        preset: Path | None = None,
        requirements: Path | None = None,
    ) -> None:
        """Raise InputError if a file named for a resume differs from the run's own copy."""
        given = {
            artifacts.MODEL_METADATA: metadata and metadata.read_bytes(),
            artifacts.PRESET: preset and preset.read_bytes(),
            artifacts.HYPERPARAMETERS: hyperparameters
            and _quietly(hyperparameters, self.files.metadata.algorithm).to_json().encode(),
            artifacts.REQUIREMENTS: requirements and requirements.read_bytes(),
            **(load_reward(reward).files() if reward else {}),
        }
        for key, content in given.items():
            if content is not None and (not self.store.exists(key) or content != self.store.get(key)):
                raise InputError(
                    f"run {self.config.name}: {key}",
                    "a changed file",
                    "a resumed run keeps the files it began with",
                    f"choose another run name, or delete {self.store.where()}",
                )


def _quietly(hyperparameters: Path, algorithm: str) -> Hyperparameters:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return Hyperparameters.load(hyperparameters, algorithm, strict=False)


def other_run(name: str, known: Sequence[str]) -> str:
    """What to do about a name that no run has."""
    return suggestion(name, known, f"undercut train {name}" if is_run_name(name) else "undercut runs lists them")


def track_of(store: Place, name: str) -> "Track":
    """The track of that name or path: by a name the run's own copy goes first, since the racer's file may have changed;
    by a path it stands in for a file that is not here."""
    from simapp.road.route_file import parse_route
    from simapp.tracks import Track, load_track  # numba takes a second to import; --help should not
    from simapp.worlds.packed import unpacked

    path, key = Path(name), artifacts.own_track(Path(name).stem)
    if path.is_file() or not store.exists(key):
        return load_track(name, [TRACKS])
    world = artifacts.own_world(Path(name).stem)
    return Track(
        path.stem,
        parse_route(store.get(key), store.where(key)),
        source=store.where(key),
        world=unpacked(store.get(world), store.where(world)) if store.exists(world) else None,
    )


def route_file(track: "Track") -> bytes:
    """The track's route as a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(track.route), allow_pickle=False)
    return file.getvalue()


def default_hyperparameters(metadata: Path) -> Path:
    """The shipped hyperparameters for the metadata's algorithm."""
    sac = ModelMetadata.load(metadata, strict=False).algorithm == "sac"
    return DEFAULT_SAC_HYPERPARAMETERS if sac else DEFAULT_HYPERPARAMETERS


def run_names() -> list[str]:
    """Runs in the workspace, newest first: those that training began or resumed last."""
    place, found = workspace(), []
    for name in place.folders(RUNS_PREFIX):
        with contextlib.suppress(KeyError):
            found.append((place.modified_s(f"{RUNS_PREFIX}{name}/{artifacts.RUN_CONFIG}"), name))
    return [name for _, name in sorted(found, reverse=True)]


def overlaid(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are given, those that are not None, over the values of a config; nested one level deep."""
    merged = dict(base)
    for key, value in given.items():
        if isinstance(value, Mapping):
            merged[key] = {**(merged.get(key) or {}), **{k: v for k, v in value.items() if v is not None}}
        elif value is not None:
            merged[key] = value
    return merged


def _check_preset(preset: Path, files: RacerFiles) -> None:
    from trainer.coach.preset import load_preset  # TensorFlow takes seconds to import

    load_preset(preset).agent_parameters(files.metadata, files.hyperparameters)
