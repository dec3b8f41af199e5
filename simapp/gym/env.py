"""`undercut/DeepRacer-v0`: a DeepRacer car on a track, one at a time or N in one process."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from contract.config import RunConfig
from contract.errors import InputError
from contract.state import STEP_S, BoolArray, FloatArray, UInt8Array
from simapp.gym.cars import Cars, MetadataLike, RewardLike, Stepped, batched, checked_actions, split

RENDER_MODES = ("rgb_array",)
METADATA: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": round(1.0 / STEP_S)}
_ONE = np.zeros(1, np.int64)


class DeepRacerEnv(gymnasium.Env[Any, Any]):
    """One car; an episode is one of DeepRacer's training: it begins a little further on than the one before, and ends
    with a complete lap, off the track, in a crash, or, truncated, at the step limit.

    A step is 1/15 s. `info` has `status`, the simtrace's word, `episode`, and after a step `params`, the 27 params that
    the reward function got. A reset with a seed also gives the racer's file fresh globals.
    """

    metadata = METADATA

    def __init__(
        self,
        track: str | None = None,
        metadata: MetadataLike | None = None,
        reward: RewardLike | None = None,
        config: RunConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        render_view: str = "pip",
    ) -> None:
        """All arguments have defaults.

        track        a known track's name, NAME_cw or NAME_ccw, or a .npy route; before the config's
        metadata     model_metadata.json, as a path or its content: the sensors and actions
        reward       a racer's file, or a function of the params
        config       RunConfig or some of its values: race, training (start, step limit), randomization ...
        render_view  of rgb_array: topview, 45degree, pip or front
        """
        self.render_mode = _checked(render_mode)
        self.cars = Cars(1, track, metadata, reward, config, render_view)
        self.observation_space = self.cars.observation_space()
        self.action_space = self.cars.action_space()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode; with a seed, the first one of those that the seed settles."""
        is_new = seed is not None or self._np_random is None
        super().reset(seed=seed)
        if is_new:
            self.cars.seed(0, self.np_random)
        self.cars.begin(_ONE)
        return split(self.cars.observe(_ONE), 1)[0], {"status": "prepare", "episode": int(self.cars.episodes[0])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Observation, reward, terminated, truncated, info."""
        did = self.cars.step(_ONE, checked_actions(self.action_space, np.asarray(action)[None], 1))
        observation = split(self.cars.observe(_ONE), 1)[0]
        info = _info(did, 0, int(self.cars.episodes[0]))
        return observation, float(did.rewards[0]), bool(did.terminated[0]), bool(did.truncated[0]), info

    def render(self) -> UInt8Array | None:
        """(480, 640, 3) uint8 with render_mode rgb_array."""
        return self.cars.picture(0) if self.render_mode else None

    def close(self) -> None:
        """Give back what the simulator holds."""
        self.cars.close()


class DeepRacerVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N cars, each in a world of its own, stepped together; they drive what N single environments with the seeds
    seed, seed + 1 ... drive. For the arguments see DeepRacerEnv, for `autoreset_mode` Gymnasium."""

    metadata = METADATA

    def __init__(
        self,
        num_envs: int = 1,
        track: str | None = None,
        metadata: MetadataLike | None = None,
        reward: RewardLike | None = None,
        config: RunConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        render_view: str = "pip",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        super().__init__()
        if num_envs < 1:
            raise InputError("num_envs", num_envs, "at least one car", "leave it out for one")
        self.num_envs, self.render_mode = num_envs, _checked(render_mode)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**METADATA, "autoreset_mode": self.autoreset_mode}
        self.cars = Cars(num_envs, track, metadata, reward, config, render_view)
        self.single_observation_space = self.cars.observation_space()
        self.single_action_space = self.cars.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._all = np.arange(num_envs)
        self._over: BoolArray = np.zeros(num_envs, np.bool_)
        self._seeded: BoolArray = np.zeros(num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode of all cars, or of those in options["reset_mask"], (N,) bool."""
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        if (
            not isinstance(mask, np.ndarray)
            or mask.shape != (self.num_envs,)
            or mask.dtype != np.bool_
            or not mask.any()
        ):
            rule = f"a bool array ({self.num_envs},) with at least one True"
            raise InputError("options['reset_mask']", mask, rule, "leave it out to reset all cars")
        seeds = (
            [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed or [None] * self.num_envs)
        )
        if len(seeds) != self.num_envs:
            raise InputError("seed", seed, f"one for each of the {self.num_envs} cars, or a number", "give as many")
        cars = self._all[mask]
        for car in cars.tolist():
            if seeds[car] is not None or not self._seeded[car]:
                self.cars.seed(car, gymnasium.utils.seeding.np_random(seeds[car])[0])
                self._seeded[car] = True
        self.cars.begin(cars)
        self._over[cars] = False
        infos = {"status": self._words(cars, ["prepare"] * len(cars)), "episode": self.cars.episodes * mask}
        return batched(self.cars.observe(self._all)), {**infos, "_status": mask.copy(), "_episode": mask.copy()}

    def step(self, actions: Any) -> tuple[Any, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Observations, rewards, terminations, truncations (N,) and infos of all cars."""
        actions = checked_actions(self.single_action_space, actions, self.num_envs)
        if self.autoreset_mode == AutoresetMode.DISABLED and self._over.any():
            over = np.flatnonzero(self._over).tolist()
            raise InputError("step", f"the episodes of cars {over} are over", "reset those first", "use reset_mask")
        waiting = self._over if self.autoreset_mode == AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, np.bool_)
        driving, resting = self._all[~waiting], self._all[waiting]
        did = self.cars.step(driving, actions[driving])
        rewards: FloatArray = np.zeros(self.num_envs)
        terminated: BoolArray = np.zeros(self.num_envs, np.bool_)
        truncated: BoolArray = np.zeros(self.num_envs, np.bool_)
        rewards[driving], terminated[driving], truncated[driving] = did.rewards, did.terminated, did.truncated
        infos = self._infos(driving, did)
        self._over = terminated | truncated
        ended = self._all[self._over]
        if self.autoreset_mode == AutoresetMode.SAME_STEP and len(ended):
            self._keep_ends(infos, ended, driving, did)
            resting = ended
        if len(resting):
            self.cars.begin(resting)
            infos["status"][resting] = "prepare"
            infos["episode"][resting] = self.cars.episodes[resting]
            infos["_status"][resting] = infos["_episode"][resting] = True
        return batched(self.cars.observe(self._all)), rewards, terminated, truncated, infos

    def render(self) -> tuple[UInt8Array, ...] | None:
        """A picture of each car with render_mode rgb_array."""
        return tuple(self.cars.picture(car) for car in range(self.num_envs)) if self.render_mode else None

    def close_extras(self, **kwargs: Any) -> None:
        """Give back what the simulator holds."""
        self.cars.close()

    def _infos(self, cars: NDArray[np.int64], did: Stepped) -> dict[str, Any]:
        """As Gymnasium's own vector environments have them: arrays (N,), and masks of who has the key."""
        mask = np.isin(self._all, cars)
        params: dict[str, Any] = {}
        for name in did.params[0] if did.params else ():
            values = [told[name] for told in did.params]
            kind = type(values[0])
            column = np.zeros(self.num_envs, kind) if kind in (int, float, bool) else np.full(self.num_envs, None)
            for car, value in zip(cars.tolist(), values, strict=True):
                column[car] = value
            params[name], params[f"_{name}"] = column, mask.copy()
        infos: dict[str, Any] = {"status": self._words(cars, did.status), "_status": mask.copy()}
        infos |= {"episode": self.cars.episodes * mask, "_episode": mask.copy()}
        return infos | ({"params": params, "_params": mask.copy()} if params else {})

    def _words(self, cars: NDArray[np.int64], words: list[str]) -> NDArray[Any]:
        column = np.full(self.num_envs, None, dtype=object)
        column[cars] = words
        return column

    def _keep_ends(
        self, infos: dict[str, Any], ended: NDArray[np.int64], driving: NDArray[np.int64], did: Stepped
    ) -> None:
        """What the ended episodes' last step showed and said, before the cars begin anew."""
        mask = np.isin(self._all, ended)
        final: dict[str, Any] = {}
        observed = np.full(self.num_envs, None, dtype=object)
        rows = {car: row for row, car in enumerate(driving.tolist())}
        for car, observation in zip(ended.tolist(), split(self.cars.observe(ended), len(ended)), strict=True):
            observed[car] = observation
            final = self._add_info(final, _info(did, rows[car], int(self.cars.episodes[car])), car)
            for name in ("params", "_params"):
                if name in infos:
                    _clear(infos[name], car)
        infos |= {"final_obs": observed, "_final_obs": mask.copy(), "final_info": final, "_final_info": mask.copy()}


def _clear(column: Any, car: int) -> None:
    """The car's entry as if it had none; of a dict, in all its columns."""
    if isinstance(column, dict):
        for inner in column.values():
            _clear(inner, car)
    else:
        column[car] = None if column.dtype == object else 0


def _info(did: Stepped, row: int, episode: int) -> dict[str, Any]:
    return {"status": did.status[row], "episode": episode, "params": did.params[row]}


def _checked(render_mode: str | None) -> str | None:
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise InputError("render_mode", render_mode, f"None or {', '.join(RENDER_MODES)}", "leave it out")
    return render_mode
