"""Which ranges of domain randomisation would make the simulator's frames look like given ones.

Light, blur and noise are found by doing to nominal frames what the simulator does, at many strengths, until they
measure like the given ones. The other ranges of `run.json` cannot be told from frames alone: tones
and textures need to know what is seen, the camera's mount and field of view where it was taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contract.conditions import RandomizationConfig, Within
from contract.state import BoolArray, FloatArray, UInt8Array
from simapp.camera.effects import finish_frames
from undercut.frames.measures import Looks, measured

LEVELS: dict[str, FloatArray] = {
    "light": np.geomspace(0.05, 5.0, 33),
    "blur_px": np.array([0.0, 0.4, 0.55, 0.7, 0.9, 1.2, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0]),
    "noise": np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 36.0, 60.0]),
}
"""Strengths that are tried, over all that `run.json` may ask for."""
MEASURES = {"light": "brightness", "blur_px": "softness", "noise": "noise"}
"""Field of RandomizationConfig -> what of Looks shows it."""
NOMINAL = {"light": 1.0, "blur_px": 0.0, "noise": 0.0}
_DIGITS = {"light": 2, "blur_px": 2, "noise": 1}
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the frames, by their measure: like is compared with like, since a nominal lap has dark and bright frames too."""
_MIDDLE = (0.01, 0.99)
"""A frame is covered where its measure is within these shares of the simulator's."""
WIDER = 0.1
"""A range's ends are seldom drawn."""
_TRIED, _DRAWN, _DRAWS = 48, 300, 3
"""Nominal frames that strengths are tried on; those that a suggested range is proved on, and how often each."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Cover:
    """One range of RandomizationConfig, `field`.

    trained    what the run was trained with, (nominal, nominal) without randomisation
    needed     what the frames look like
    suggested  a range that holds both, a tenth wider where the frames need more, within what run.json allows
    covered    share of the frames that measure like training's frames
    would_be   the same, with all suggested ranges
    clipped    the frames need more than run.json allows
    """

    field: str
    trained: Range
    needed: Range
    suggested: Range
    covered: float
    would_be: float
    clipped: bool


def seen_as(frames: UInt8Array, light: FloatArray, blur_px: FloatArray, noise: FloatArray, seed: int) -> UInt8Array:
    """Frames (K, 120, 160) as the simulator's camera gives them under conditions, (K,) each."""
    lit = np.minimum(np.round(frames * light[:, None, None]), 255.0).astype(np.uint8)
    keys = np.random.default_rng(seed).integers(0, 2**64, len(frames), np.uint64)
    finish_frames(np.asarray(blur_px, np.float64), np.asarray(noise, np.float64), keys, lit)
    return lit


def covers(
    looks: Looks, trained_looks: Looks, nominal: UInt8Array, trained: RandomizationConfig | None
) -> Sequence[Cover]:
    """What the frames of `looks` would need, range by range.

    trained_looks  of frames that the policy was trained on
    nominal        (M, 120, 160) of the simulator without randomisation
    trained        the run's ranges, None if it was trained without
    """
    needed = found_ranges(looks, nominal)
    ranges = {name: (value, value) if trained is None else getattr(trained, name) for name, value in NOMINAL.items()}
    suggested = {name: _suggested(name, needed[name], ranges[name]) for name in NOMINAL}
    proof = _drawn(nominal, suggested)
    found = []
    for name, measure in MEASURES.items():
        mine = getattr(looks, measure)
        now = _bounds(getattr(trained_looks, measure))
        then = _bounds(getattr(proof, measure))
        both = (min(now[0], then[0]), max(now[1], then[1]))
        least, most = _limits(name)
        clipped = needed[name][1] >= most or (needed[name][0] <= least and least != NOMINAL[name])
        shares = _share(mine, now), _share(mine, both)
        found.append(Cover(name, ranges[name], needed[name], suggested[name], *shares, clipped))
    return found


def found_ranges(looks: Looks, nominal: UInt8Array) -> dict[str, Range]:
    """Field -> the range in which nominal frames (M, 120, 160) measure like those of `looks`."""
    some = nominal[np.unique(np.linspace(0, len(nominal) - 1, min(_TRIED, len(nominal))).astype(int))]
    random = np.random.default_rng(0)
    places = {name: random.permutation((np.arange(len(some)) + 0.5) / len(some)) for name in NOMINAL}
    found = {name: np.full(len(_SHARES), value) for name, value in NOMINAL.items()}
    for turn, name in enumerate(("light", "blur_px", "noise", "blur_px", "noise")):
        if turn > 2 and not found["noise"].any():
            break  # noise sharpens, and blur calms: where there is some, both are looked for once more
        # what is known of the others varies from frame to frame, as it does in the given ones
        strength = {key: np.interp(places[key], _SHARES, values) for key, values in found.items()}
        table = []
        for level in LEVELS[name]:
            tried = {**strength, name: np.full(len(some), level)}
            table.append(measured(seen_as(some, **tried, seed=1), MEASURES[name]))
        found[name] = _matched(getattr(looks, MEASURES[name]), LEVELS[name], np.array(table))
    return {name: (float(values.min()), float(values.max())) for name, values in found.items()}


def _matched(wanted: FloatArray, levels: FloatArray, measures: FloatArray) -> FloatArray:
    """Strengths (of L levels) at which the _SHARES of `measures` (L, M) are those of what is wanted (K,)."""
    wanted = wanted[np.isfinite(wanted)]
    measures = measures[:, np.isfinite(measures).all(axis=0)]  # a frame without edges has no softness
    if not len(wanted) or not measures.size:
        return np.full(len(_SHARES), levels[0])
    curves = np.maximum.accumulate(np.quantile(measures, _SHARES, axis=1), axis=1)
    asked = np.quantile(wanted, _SHARES)
    return np.array([np.interp(value, curve, levels) for value, curve in zip(asked, curves, strict=True)])


def _suggested(name: str, needed: Range, trained: Range) -> Range:
    """Both, a tenth wider where the frames need more, rounded outwards, within what run.json allows."""
    unit, (least, most) = 10.0 ** _DIGITS[name], _limits(name)
    low, high = min(needed[0], trained[0]), max(needed[1], trained[1])
    more = WIDER * (high - low)
    low -= more if needed[0] < trained[0] else 0.0
    high += more if needed[1] > trained[1] else 0.0
    ends = max(np.floor(low * unit) / unit, least), min(np.ceil(high * unit) / unit, most)
    return round(float(ends[0]), _DIGITS[name]), round(float(ends[1]), _DIGITS[name])


def _limits(name: str) -> Range:
    field = RandomizationConfig.model_fields[name]
    within = next(it for it in field.metadata if isinstance(it, Within))
    return within.least, within.most


def _drawn(nominal: UInt8Array, ranges: dict[str, Range]) -> Looks:
    """Of nominal frames under conditions drawn from ranges."""
    some = nominal[np.unique(np.linspace(0, len(nominal) - 1, min(_DRAWN, len(nominal))).astype(int))]
    random, many = np.random.default_rng(2), np.repeat(some, _DRAWS, axis=0)
    drawn = {name: random.uniform(*ranges[name], len(many)) for name in NOMINAL}
    return Looks.of(seen_as(many, **drawn, seed=3))


def _bounds(values: FloatArray) -> Range:
    known = values[np.isfinite(values)]
    if not len(known):
        return np.inf, -np.inf
    low, high = np.quantile(known, _MIDDLE)
    return float(low), float(high)


def within(values: FloatArray, bounds: Range) -> BoolArray:
    """(K,) whether each is; one that is not known is not."""
    return np.asarray((values >= bounds[0]) & (values <= bounds[1]))


def _share(values: FloatArray, bounds: Range) -> float:
    return float(within(values, bounds).mean())
