"""Cars of one process, each with its own episodes, random numbers and reward: what both environments are made of."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from contract.config import RunConfig
from contract.errors import InputError
from contract.metadata import DiscreteActions, ModelMetadata
from contract.params import beside_ours
from contract.state import BoolArray, EpisodeStatus, FloatArray, IntArray, Observations, UInt8Array
from simapp.builtin import BuiltinSimulator
from simapp.episode_setup import episode_setups
from simapp.race import Reward
from simapp.reward_source import load_reward
from simapp.scene import VIEWS, Bodies, SceneRenderer
from simapp.tracks import load_track

Params = dict[str, Any]
RewardLike = str | Path | Callable[[Params], float]
MetadataLike = str | Path | Mapping[str, Any] | ModelMetadata

_ROOT = Path(__file__).resolve().parents[2]
DEFAULT_REWARD = _ROOT / "rewards" / "follow_center_line.py"
DEFAULT_METADATA = _ROOT / "actions" / "default.json"
TRACKS = Path("tracks")
"""Racers' own tracks, in the working directory."""
FRAME_HEIGHT, FRAME_WIDTH = 480, 640


@dataclass(slots=True)
class Stepped:
    """What a step did to K cars, each field (K,); `params` are those that the reward function got, by car."""

    rewards: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    status: list[str]
    params: list[Params]


class Cars:
    """N cars on one track, each in a world of its own, under the rules of training episodes."""

    def __init__(
        self,
        num_cars: int,
        track: str | None,
        metadata: MetadataLike | None,
        reward: RewardLike | None,
        config: RunConfig | Mapping[str, Any] | None,
        view: str,
    ) -> None:
        """InputError for whatever is wrong with the files or the config; see DeepRacerEnv for the arguments."""
        if view not in VIEWS:
            raise InputError("render_view", view, f"one of {', '.join(VIEWS)}", "choose one of them")
        values = config.model_dump() if isinstance(config, RunConfig) else dict(config or {})
        named: Mapping[str, Any] = {"name": "gym", **values, **({} if track is None else {"track": track})}
        self.config = RunConfig.build(dict(named), "config")
        if self.config.worlds:
            raise InputError("config: worlds", len(self.config.worlds), "an environment is one world", "leave it out")
        self.model = _model(metadata)
        self._view = view
        self._renderer: SceneRenderer | None = None
        track_ = load_track(self.config.track, [TRACKS])
        self.track = track_.reversed() if self.config.reverse_dir else track_
        self.simulator = BuiltinSimulator(self.track, [self.model] * num_cars)
        source = DEFAULT_REWARD if reward is None else reward
        self._new_reward: Callable[[], Reward] = (
            load_reward(Path(source)).instance if isinstance(source, str | Path) else lambda: source
        )
        self._rewards = [self._new_reward() for _ in range(num_cars)]
        self._own_params: list[Params] = [{} for _ in range(num_cars)]
        asked = [self._keeping_params(car) for car in range(num_cars)]
        self._scenes = episode_setups(self.config, self.simulator, self.track, asked)
        self._random = [np.random.default_rng() for _ in range(num_cars)]
        self.episodes: IntArray = np.zeros(num_cars, np.int64)
        """(N,) the number of each car's episode since it was seeded, from 0."""

    def seed(self, car: int, random: np.random.Generator) -> None:
        """Begin the car's history anew: its random numbers, episode 0, and fresh globals of the racer's file."""
        self._random[car], self.episodes[car] = random, -1
        self._rewards[car] = self._new_reward()

    def begin(self, cars: IntArray) -> None:
        """Begin the next episode of the cars (indices, (K,))."""
        self.episodes[cars] += 1
        for car in cars.tolist():
            episode = int(self.episodes[car])
            self._scenes[episode % len(self._scenes)].start(car, episode, self._random[car])

    def step(self, cars: IntArray, actions: NDArray[Any]) -> Stepped:
        """Drive the cars (indices, (K,)) by the metadata's actions: indices (K,), or (K, 2) in -1..1."""
        controls = self.model.actions.controls(actions)
        params: list[Params] = [{} for _ in cars]
        for car in cars.tolist():
            self._own_params[car] = {}
        rewards, over, truncated, status = (np.zeros(len(cars), kind) for kind in (np.float64, bool, bool, np.int64))
        for number, scene in enumerate(self._scenes):
            here = np.flatnonzero(self.episodes[cars] % len(self._scenes) == number)
            if not len(here):
                continue
            mine = type(controls)(controls.steering_rad[here], controls.speed_mps[here])
            outcome = scene.race.step(cars[here], mine)
            for k, its in zip(here.tolist(), outcome.params, strict=True):
                params[k] = its
            rewards[here], status[here] = outcome.rows["reward"], outcome.rows["status"]
            over[here], truncated[here] = outcome.over, outcome.truncated
        # a held car's reward was not called, and its params are nobody else's
        own = [self._own_params[car] or params[k] for k, car in enumerate(cars.tolist())]
        words = [EpisodeStatus(code).name for code in status.tolist()]
        return Stepped(rewards, over & ~truncated, over & truncated, words, own)

    def observe(self, cars: IntArray) -> Observations:
        """What the cars (indices, (K,)) see: sensor -> (K, ...)."""
        return self.simulator.observe(cars)

    def observation_space(self) -> spaces.Space[Any]:
        """Of one car: a Box for a single camera, else a Dict of the sensors."""
        found: dict[str, spaces.Space[Any]] = {
            name: spaces.Box(0, 255, shape, np.uint8) if len(shape) == 3 else spaces.Box(0.0, 1.0, shape, np.float32)
            for name, shape in self.model.observation_shapes().items()
        }
        return found[self.model.camera] if len(found) == 1 else spaces.Dict(found)

    def action_space(self) -> spaces.Space[Any]:
        """Of one car: the list's indices, or [steering, speed] in -1..1 from low to high."""
        if isinstance(self.model.actions, DiscreteActions):
            return spaces.Discrete(self.model.actions.size)
        return spaces.Box(-1.0, 1.0, (self.model.actions.size,), np.float32)

    def picture(self, car: int) -> UInt8Array:
        """(480, 640, 3) the car in its world, from the view that was asked for."""
        if self._renderer is None:
            self._renderer = SceneRenderer(self.track, FRAME_WIDTH, FRAME_HEIGHT)
        scene = self._scenes[int(max(self.episodes[car], 0)) % len(self._scenes)]
        one = np.array([car])
        own = Bodies.of_batch(self.simulator.cars, one, np.zeros(1, np.int64))
        return self._renderer.render(self._view, own.beside(Bodies.of_objects(scene.race.nearby.around(one))))

    def close(self) -> None:
        """Give back what the simulator holds."""
        self.simulator.close()

    def _keeping_params(self, car: int) -> Reward:
        """The car's reward, with a copy of its params kept: the function may change its own."""

        def reward(params: Params) -> float:
            self._own_params[car] = {key: value[:] if type(value) is list else value for key, value in params.items()}
            return float(self._rewards[car](params))

        return reward


def split(observations: Observations, count: int) -> list[Any]:
    """K observations of single cars, as their space has them; copies."""
    if len(observations) == 1:
        return [frame.copy() for frame in next(iter(observations.values()))]
    return [{name: values[k].copy() for name, values in observations.items()} for k in range(count)]


def batched(observations: Observations) -> Any:
    """The observations of K cars as a batch of their space."""
    return next(iter(observations.values())) if len(observations) == 1 else observations


def _model(metadata: MetadataLike | None) -> ModelMetadata:
    if isinstance(metadata, ModelMetadata):
        return metadata
    if isinstance(metadata, Mapping):
        return ModelMetadata.parse(json.dumps(metadata), "metadata")
    path = Path(metadata or DEFAULT_METADATA)
    return ModelMetadata.load(path, beside_ours(path))


def checked_actions(space: spaces.Space[Any], actions: Any, count: int) -> NDArray[Any]:
    """K actions as an array; what a box's are beyond -1..1 is clipped. InputError for what is no action."""
    array = np.asarray(actions)
    if isinstance(space, spaces.Discrete):
        good = array.shape == (count,) and array.dtype.kind in "iu"
        good = good and bool(((array >= 0) & (array < space.n)).all())
    else:
        good = (
            array.shape == (count, *(space.shape or ()))
            and array.dtype.kind in "iuf"
            and bool(np.isfinite(array).all())
        )
    if not good:
        raise InputError("action", actions, f"{count} of {space}", "take actions of this environment's action_space")
    return array
