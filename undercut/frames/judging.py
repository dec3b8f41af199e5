"""Frames judged by a run's policy: what it would do, where it is unsure, and how far they are from its training's."""

import csv
import dataclasses
import io
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.conditions import RandomizationConfig
from contract.metadata import DiscreteActions, ModelMetadata
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.state import BoolArray, FloatArray, IntArray, Observations, UInt8Array
from simapp.policy import FrozenPolicy
from trainer.common.saliency import Saliency
from undercut.backends.local.rollouts import LocalRollouts
from undercut.frames.covering import Cover, covers
from undercut.frames.measures import Looks, distances
from undercut.frames.source import Frames
from undercut.interchange.car_formats import same_action
from undercut.runs.run import Run
from undercut.runs.sessions import chosen_policy

MOST_STEPS = 300
"""Of an episode that training's frames are taken from."""
MOST_REFERENCE = 3000
"""Frames of training that others are compared with, evenly spread over the episodes."""
UNSURE = 0.95
"""A frame on which the policy is less sure than on this share of training's frames is one that it is unsure of."""
FAR = 0.99
"""A frame that is further from training's frames than this share of those are from each other is far."""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A run's policy, and N frames of its own training that it was shown again.

    policy      of the checkpoint                ranges   of the run's randomisation, None without
    threads     that TensorFlow may use          episodes  that were driven
    embeddings  (N, D) of the frames             nominal  (M, 120, 160) frames without randomisation
    looks       how the frames look              doubt    (N,) how unsure the policy is of each
    distance    (N,) of each to frames of other episodes
    taken       (outputs,) how often each discrete action is the likeliest; empty for continuous ones
    """

    run: str
    checkpoint: int
    policy: bytes
    metadata: ModelMetadata
    threads: int | None
    ranges: RandomizationConfig | None
    episodes: int
    embeddings: NDArray[np.float32]
    nominal: UInt8Array
    looks: Looks
    doubt: FloatArray
    distance: FloatArray
    taken: FloatArray

    @classmethod
    def of(cls, run: Run, which: str = "best", episodes: int = 20) -> "Training":
        """Of the best or last checkpoint; so many episodes, 2 at least, are driven as in training."""
        (record, policy), metadata = chosen_policy(run, which), run.files.metadata
        threads = run.config.threads or None
        seen, numbers = _driven(run, policy, record.iteration, episodes)
        pictures = nominal = np.asarray(seen[metadata.camera][..., 0])
        ranges = next((it.randomization for it in run.config.each_world() if it.enable_domain_randomization), None)
        if ranges is not None:
            plain = run.config.model_copy(update={"enable_domain_randomization": False, "worlds": ()})
            alike = _driven(dataclasses.replace(run, config=plain), policy, record.iteration, episodes)[0]
            nominal = np.asarray(alike[metadata.camera][..., 0])
        distribution, embeddings = _judged(policy, metadata, threads, seen)
        return cls(
            run=run.config.name,
            checkpoint=record.iteration,
            policy=policy,
            metadata=metadata,
            threads=threads,
            ranges=ranges,
            episodes=episodes,
            embeddings=embeddings,
            nominal=nominal,
            looks=Looks.of(pictures),
            doubt=doubt_of(distribution),
            distance=distances(embeddings, embeddings, numbers, numbers),
            taken=_taken(distribution.outputs) if isinstance(metadata.actions, DiscreteActions) else np.empty(0),
        )

    @property
    def unsure_from(self) -> float:
        return float(np.quantile(self.doubt, UNSURE))

    @property
    def far_from(self) -> float:
        return float(np.quantile(self.distance, FAR))


@dataclass(frozen=True, eq=False)
class Judged:
    """K frames and what came of them.

    outputs   (K, outputs) probabilities, or steering and speed in -1 to 1
    chosen    (K,) the likeliest action; 0 for continuous ones
    steering_deg, speed_mps  (K,) what would be commanded
    doubt     (K,) 0 to 1: the entropy of discrete actions by that of chance, or the mean deviation of continuous ones
    distance  (K,) to training's frames, in the policy's embedding
    agrees    (K,) whether the car's own policy took the same action; False where it said nothing
    """

    training: Training
    frames: Frames
    looks: Looks
    outputs: FloatArray
    chosen: IntArray
    steering_deg: FloatArray
    speed_mps: FloatArray
    doubt: FloatArray
    distance: FloatArray
    agrees: BoolArray

    @cached_property
    def covers(self) -> tuple[Cover, ...]:
        """The ranges of randomisation that these frames ask for; that takes a second or two."""
        return tuple(covers(self.looks, self.training.looks, self.training.nominal, self.training.ranges))

    @property
    def metadata(self) -> ModelMetadata:
        return self.training.metadata

    @property
    def is_discrete(self) -> bool:
        return isinstance(self.metadata.actions, DiscreteActions)

    @property
    def pictures(self) -> UInt8Array:
        return self.frames.pictures(self.metadata)

    @property
    def unsure(self) -> BoolArray:
        """(K,) less sure than on nearly all of training's frames."""
        return np.asarray(self.doubt > self.training.unsure_from)

    @property
    def far(self) -> BoolArray:
        """(K,) further from training's frames than nearly all of those are."""
        return np.asarray(self.distance > self.training.far_from)

    @property
    def compared(self) -> BoolArray:
        """(K,) where the car's own policy said something."""
        own = self.frames.said
        return np.zeros(len(self.frames), np.bool_) if own is None else np.asarray(np.isfinite(own).all(axis=1))

    @property
    def apart(self) -> FloatArray:
        """(K,) largest difference of an output from the car's; NaN where it said nothing."""
        own = self.frames.said
        if own is None:
            return np.full(len(self.frames), np.nan)
        return np.asarray(np.abs(self.outputs - own).max(axis=1))


def judge(training: Training, frames: Frames) -> Judged:
    """Everything that is found of frames by the policy of a run, beside frames of its training."""
    metadata = training.metadata
    distribution, embeddings = _judged(training.policy, metadata, training.threads, frames.observations)
    outputs, looks = distribution.outputs, Looks.of(frames.pictures(metadata))
    if isinstance(metadata.actions, DiscreteActions):
        chosen = outputs.argmax(axis=1)
        controls = metadata.actions.controls(chosen)
    else:
        chosen = np.zeros(len(outputs), np.int64)
        controls = metadata.actions.controls(outputs)
    agrees = np.zeros(len(frames), np.bool_)
    if frames.said is not None:
        heard = np.isfinite(frames.said).all(axis=1)
        agrees[heard] = same_action(outputs[heard], frames.said[heard], isinstance(metadata.actions, DiscreteActions))
    return Judged(
        training=training,
        frames=frames,
        looks=looks,
        outputs=outputs,
        chosen=chosen,
        steering_deg=np.degrees(controls.steering_rad),
        speed_mps=np.asarray(controls.speed_mps),
        doubt=doubt_of(distribution),
        distance=distances(embeddings, training.embeddings),
        agrees=agrees,
    )


def _judged(
    policy: bytes, metadata: ModelMetadata, threads: int | None, observations: Observations
) -> tuple[ActionDistribution, NDArray[np.float32]]:
    """What a policy says of K frames, and its embedding of them, (K, D)."""
    with closing(FrozenPolicy(policy, metadata, threads)) as frozen:
        distribution = frozen.distribution(observations)
    with closing(Saliency(policy, metadata, threads)) as saliency:
        return distribution, saliency.embeddings(observations)


def _driven(run: Run, policy: bytes, iteration: int, episodes: int) -> tuple[Observations, IntArray]:
    """Observations of training episodes (N, ...), evenly spread, and the episode of each (N,)."""
    limit = min(run.config.training.max_episode_steps, MOST_STEPS)
    short = run.config.training.model_copy(update={"max_episode_steps": limit})
    config = run.config.model_copy(update={"training": short})
    order = RolloutOrder(Phase.training, iteration, 0, episodes)
    driven = LocalRollouts(dataclasses.replace(run, config=config)).collect(policy, order)
    numbers = np.concatenate([np.full(len(it), it.episode) for it in driven])
    some = np.unique(np.linspace(0, len(numbers) - 1, min(MOST_REFERENCE, len(numbers))).astype(int))
    seen = {name: np.concatenate([it.observations[name] for it in driven])[some] for name in driven[0].observations}
    return seen, numbers[some]


def doubt_of(distribution: ActionDistribution) -> FloatArray:
    """(K,) 0 where the policy is sure, and 1 where each action is as likely as another; of continuous actions the mean
    of both deviations, half of their range at most."""
    if distribution.probabilities is None:
        assert distribution.deviation is not None
        return np.asarray(np.minimum(distribution.deviation.mean(axis=1), 1.0))
    p = np.clip(distribution.probabilities, 1e-12, 1.0)
    return np.asarray(-(p * np.log(p)).sum(axis=1) / np.log(max(p.shape[1], 2)))


def _taken(outputs: FloatArray) -> FloatArray:
    return np.bincount(outputs.argmax(axis=1), minlength=outputs.shape[1]) / len(outputs)


def taken(judged: Judged) -> FloatArray:
    """(outputs,) share of the frames on which each discrete action is the likeliest."""
    return _taken(judged.outputs)


def maps_of(judged: Judged, some: IntArray) -> NDArray[np.float32]:
    """(len(some), 120, 160) heat maps of what the decisions hang on."""
    with closing(Saliency(judged.training.policy, judged.metadata, judged.training.threads)) as saliency:
        chosen = judged.chosen[some] if judged.is_discrete else None
        seen = {name: values[some] for name, values in judged.frames.observations.items()}
        return saliency.maps(seen, chosen).maps


# --- for programs -----------------------------------------------------------------------------------------------------


def table(judged: Judged, labels: list[str]) -> str:
    """CSV, a row a frame; a column that has nothing to say of a frame is empty there."""
    columns: dict[str, Any] = {
        "frame": judged.frames.names,
        "time_s": judged.frames.times_s.round(4),
        "action": judged.chosen if judged.is_discrete else None,
        "steering_deg": judged.steering_deg.round(3),
        "speed_mps": judged.speed_mps.round(3),
        "doubt": judged.doubt.round(5),
        "unsure": judged.unsure.astype(int),
        "distance": judged.distance.round(5),
        "far": judged.far.astype(int),
        **{name: values.round(4) for name, values in judged.looks.named().items()},
        **{f"output_{i}": judged.outputs[:, i].round(6) for i in range(len(labels))},
    }
    if judged.frames.said is not None:
        columns |= {f"car_output_{i}": judged.frames.said[:, i].round(6) for i in range(len(labels))}
        same = np.where(judged.compared, judged.agrees.astype(float), np.nan)
        columns |= {"agrees": same, "difference": judged.apart.round(6), "delay_s": judged.frames.delay_s.round(4)}
    columns = {name: values for name, values in columns.items() if values is not None}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_cell(it) for it in values] for values in columns.values()), strict=True))
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float) and not np.isfinite(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def summary(judged: Judged) -> dict[str, Any]:
    """What `--json` tells."""
    frames, compared = judged.frames, judged.compared
    result: dict[str, Any] = {
        "run": judged.training.run,
        "checkpoint": judged.training.checkpoint,
        "source": {
            "name": frames.name,
            "kind": frames.kind,
            "topic": frames.topic or None,
            "frames": len(frames),
            "seconds": _number(np.nanmax(frames.times_s)) if np.isfinite(frames.times_s).any() else None,
            "notes": list(frames.notes),
        },
        "training": {"frames": len(judged.training.doubt), "episodes": judged.training.episodes},
        "unsure": {
            "share": _number(judged.unsure.mean()),
            "doubt_median": _number(np.median(judged.doubt)),
            "training_doubt_median": _number(np.median(judged.training.doubt)),
        },
        "far": {
            "share": _number(judged.far.mean()),
            "distance_median": _number(np.median(judged.distance)),
            "training_distance_median": _number(np.median(judged.training.distance)),
        },
        "looks": {
            name: {"median": _number(_median(values)), "training_median": _number(_median(usual))}
            for (name, values), usual in zip(
                judged.looks.named().items(), judged.training.looks.named().values(), strict=True
            )
        },
        "randomization": {
            it.field: {
                "trained": list(it.trained),
                "needed": [_number(value) for value in it.needed],
                "suggested": list(it.suggested),
                "covered": _number(it.covered),
                "would_be_covered": _number(it.would_be),
                "beyond_limits": it.clipped,
            }
            for it in judged.covers
        },
        "car": None,
    }
    if judged.is_discrete:
        result["actions"] = {"taken": [_number(it) for it in taken(judged)]}
        result["actions"]["training"] = [_number(it) for it in judged.training.taken]
    if compared.any():
        delay = frames.delay_s[np.isfinite(frames.delay_s)]
        result["car"] = {
            "frames": int(compared.sum()),
            "same_action": _number(judged.agrees[compared].mean()),
            "largest_difference": _number(judged.apart[compared].max()),
            "delay_median_s": _number(np.median(delay)) if len(delay) else None,
        }
    return result


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
