"""The wire format: rollouts come back as they went; bytes that were changed are refused, never more."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import WireError
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, EpisodeStatus, ObjectKind, TrackObjects
from contract.vehicle import CAR_COLORS
from contract.wire import (
    MAX_HEADER_BYTES,
    MAX_OBJECTS,
    OVERHEAD,
    Delivery,
    Job,
    RolloutRules,
    frame,
    read_task,
    read_worker_message,
    rollout_of,
    rollout_to_bytes,
    unframe,
)
from tests.fuzzing import places_in

WORKER, ORDER = "0123456789abcdef", "ab" * 32
RULES = RolloutRules({"FRONT_FACING_CAMERA": (120, 160, 1), "LIDAR": (64,)}, actions=5, most_steps=50)
CONTINUOUS = RolloutRules(RULES.sensors, actions=0, most_steps=50)


def rollout(length: int = 3, seed: int = 0, seen: bool = True, continuous: bool = False) -> Rollout:
    random = np.random.default_rng(seed)
    steps = np.zeros(length, STEP_DTYPE)
    for name in STEP_DTYPE.names or ():
        if STEP_DTYPE[name].kind == "f":
            steps[name] = random.normal(size=length)
    steps["closest_waypoint"] = random.integers(0, 300, length)
    steps["all_wheels_on_track"] = random.random(length) < 0.5
    steps["status"][-1] = EpisodeStatus.off_track
    actions: np.ndarray[Any, Any] = random.integers(0, 5, length)
    if continuous:
        actions = random.normal(size=(length, 2))
    return Rollout(
        episode=int(random.integers(0, 10**6)),
        iteration=7,
        observations={
            "FRONT_FACING_CAMERA": random.integers(0, 256, (length, 120, 160, 1), np.uint8),
            "LIDAR": random.random((length, 64), np.float32),
        }
        if seen
        else {},
        final={
            "FRONT_FACING_CAMERA": random.integers(0, 256, (120, 160, 1), np.uint8),
            "LIDAR": random.random(64, np.float32),
        },
        actions=actions,
        steps=steps,
        truncated=bool(seed % 2),
        objects=None if seen else _objects(random, length),
    )


def _objects(random: np.random.Generator, length: int) -> TrackObjects:
    x_m, y_m, heading_rad, speed_mps = (random.normal(size=(length, 3)) for _ in range(4))
    kind, colour = (random.integers(0, 3, (length, 3), np.uint8) for _ in range(2))
    return TrackObjects(kind, x_m, y_m, heading_rad, speed_mps, colour)


def read(data: bytes, rules: RolloutRules = RULES) -> tuple[Delivery, Rollout]:
    message, body = read_worker_message(data, rules.most_bytes)
    assert isinstance(message, Delivery)
    return message, rollout_of(message, body, rules)


def assert_same(a: Rollout, b: Rollout) -> None:
    assert (a.episode, a.iteration, a.truncated) == (b.episode, b.iteration, b.truncated)
    assert a.actions.dtype == b.actions.dtype and np.array_equal(a.actions, b.actions)
    assert a.steps.dtype == b.steps.dtype and a.steps.tobytes() == b.steps.tobytes()
    assert (a.objects is None) == (b.objects is None)
    if a.objects is not None and b.objects is not None:
        for name in TrackObjects.__slots__:
            assert np.array_equal(getattr(a.objects, name), getattr(b.objects, name))
    for mine, other in ((a.observations, b.observations), (a.final, b.final)):
        assert list(mine) == list(other)
        for name in mine:
            assert mine[name].dtype == other[name].dtype
            assert np.array_equal(mine[name], other[name])


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("length", [1, 50])
def test_a_rollout_comes_back_bit_for_bit(length: int, continuous: bool, seen: bool) -> None:
    sent = rollout(length, seed=length, seen=seen, continuous=continuous)
    data = rollout_to_bytes(sent, WORKER, 3, ORDER)
    rules = CONTINUOUS if continuous else RULES
    assert len(data) <= rules.most_bytes
    message, got = read(data, rules)
    assert (message.worker, message.number, message.order) == (WORKER, 3, ORDER)
    assert_same(got, sent)


SENT = rollout(4, seed=1)
GOOD = rollout_to_bytes(SENT, WORKER, 3, ORDER)
HEADER, BODY = unframe(GOOD, RULES.most_bytes)


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=12))
def test_overwritten_bytes_are_noticed(place: int, noise: bytes) -> None:
    data = (GOOD[:place] + noise + GOOD[place + len(noise) :])[: len(GOOD)]
    if data == GOOD:
        assert_same(read(data)[1], SENT)
    else:
        with pytest.raises(WireError):
            read(data)


@settings(max_examples=200)
@given(st.integers(0, len(GOOD)), st.binary(max_size=40))
def test_cut_off_or_longer_messages_are_noticed(length: int, tail: bytes) -> None:
    data = GOOD[:length] + tail
    if data != GOOD:
        with pytest.raises(WireError):
            read(data)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_noise_is_no_message(noise: bytes) -> None:
    for reader in (lambda: read(noise), lambda: read_task(noise), lambda: Job.from_bytes(noise)):
        with pytest.raises(WireError):
            reader()


VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=4),
)


@settings(max_examples=200)
@given(st.sampled_from(places_in(json.loads(HEADER))), VALUES)
def test_a_forged_header_with_a_right_checksum_is_read_within_its_bounds(place: tuple[Any, ...], value: Any) -> None:
    """What an attacker or a bug could send: it may say something else that is allowed, but nothing else happens."""
    header = json.loads(HEADER)
    inner = header
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    try:
        got = read(frame(json.dumps(header).encode(), BODY))[1]
    except WireError:
        return
    assert len(got) == 4
    assert {name: seen.shape for name, seen in got.observations.items()} in (
        {},
        {"FRONT_FACING_CAMERA": (4, 120, 160, 1), "LIDAR": (4, 64)},
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.steps.__setitem__("reward", np.nan), "not finite"),
        (lambda r: r.steps.__setitem__("x_m", np.inf), "not finite"),
        (lambda r: r.steps.__setitem__("status", max(EpisodeStatus) + 1), "unknown status"),
        (lambda r: r.steps["closest_waypoint"].__setitem__(3, -1), "unknown status or waypoint"),
        (lambda r: r.actions.__setitem__(0, 5), "not in 0..4"),
        (lambda r: r.actions.__setitem__(0, -1), "not in 0..4"),
        (lambda r: r.final["LIDAR"].__setitem__(0, np.nan), "not finite"),
        (lambda r: r.observations.pop("LIDAR"), "sensors"),
        (lambda r: setattr(r, "objects", TrackObjects.none(4, 201)), "at most 200"),
        (lambda r: setattr(r, "objects", TrackObjects.none(3, 1)), "must be uint8"),
        (lambda r: r.final.pop("LIDAR"), "missing"),
        (lambda r: r.observations.__setitem__("LIDAR", r.observations["LIDAR"][:, :3]), "must be float32"),
        (lambda r: r.observations.__setitem__("MORE", r.final["LIDAR"]), "sensors"),
        (lambda r: setattr(r, "actions", r.actions.astype(np.float64)), "must be int64"),
        (lambda r: setattr(r, "actions", r.actions.astype(np.int32)), "array actions is int32; a rollout's are u1, f4"),
    ],
)
def test_a_rollout_that_would_spoil_training_is_refused(change: Callable[[Rollout], Any], said: str) -> None:
    bad = rollout(4)
    change(bad)
    with pytest.raises(WireError, match=said):
        read(rollout_to_bytes(bad, WORKER, 1, ORDER))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda objects: objects.kind.__setitem__((3, 1), len(ObjectKind)), "unknown kind"),
        (lambda objects: objects.colour.__setitem__((3, 1), len(CAR_COLORS)), "unknown kind or colour"),
        (lambda objects: objects.heading_rad.__setitem__((0, 0), np.nan), "nowhere"),
        (lambda objects: objects.speed_mps.__setitem__((3, 1), -np.inf), "nowhere"),
    ],
)
def test_objects_on_the_road_that_are_none_are_refused(change: Callable[[TrackObjects], None], said: str) -> None:
    sent = rollout(4)
    sent.objects = TrackObjects.none(4, 2)
    sent.objects.kind[3, 1], sent.objects.colour[3, 1] = max(ObjectKind), len(CAR_COLORS) - 1
    assert_same(read(rollout_to_bytes(sent, WORKER, 1, ORDER))[1], sent)
    change(sent.objects)
    with pytest.raises(WireError, match=said):
        read(rollout_to_bytes(sent, WORKER, 1, ORDER))


def _forged(change: Callable[[dict[str, Any]], None], body: bytes = bytes(BODY)) -> bytes:
    """GOOD with another header, whose checksum is right."""
    header = json.loads(HEADER)
    change({"header": header, "arrays": header["arrays"], **{array["name"]: array for array in header["arrays"]}})
    return frame(json.dumps(header).encode(), body)


@pytest.mark.parametrize(
    ("change", "body", "said"),
    [
        (lambda h: h["arrays"].append(h["final/LIDAR"]), BODY, "'final/LIDAR' .* does not fit"),
        (lambda h: h["arrays"].append(h["final/LIDAR"]), bytes(BODY) + bytes(256), "'final/LIDAR' .* does not fit"),
        (lambda h: h["observations/LIDAR"].update(name="more"), BODY, "arrays .*, more; sensors"),
        (lambda h: None, bytes(BODY) + b"more", "4 bytes behind its arrays"),
        (lambda h: h["steps"].update(shape=[2, 2]), BODY, "1 to 50 steps are a whole episode"),
        (lambda h: h["steps"].update(name="more"), BODY, "1 to 50 steps are a whole episode"),
        (lambda h: h["steps"].update(dtype="u1", shape=[4, STEP_DTYPE.itemsize]), BODY, "1 to 50 steps are"),
        (lambda h: h["actions"].update(shape=[4, 1]), BODY, r"'actions' of a rollout is int64 \(4, 1\); it must"),
        (lambda h: h["header"].update(number=-1), BODY, "breaks a rule at rollout.number"),
        (lambda h: h["actions"].update(shape=[0]), BODY, r"breaks a rule at rollout.arrays.0.shape.0"),
        (lambda h: h["header"].update(more=1), BODY, "breaks a rule at rollout.more"),
    ],
)
def test_arrays_that_are_not_those_of_a_rollout_are_refused(
    change: Callable[[dict[str, Any]], None], body: bytes, said: str
) -> None:
    with pytest.raises(WireError, match=said):
        read(_forged(change, body))


@pytest.mark.parametrize("status", EpisodeStatus)
def test_every_status_goes_over_the_wire(status: EpisodeStatus) -> None:
    sent = rollout(4)
    sent.steps["status"][1], sent.steps["closest_waypoint"][1] = status, 0
    assert_same(read(rollout_to_bytes(sent, WORKER, 1, ORDER))[1], sent)


def test_a_rollout_tells_of_its_end() -> None:
    sent = rollout(4)
    sent.steps["progress_pct"], sent.steps["time_s"] = (1.0, 2.0, 3.0, 4.0), (0.1, 0.2, 0.3, 2.4)
    sent.steps["status"] = (0, 1, EpisodeStatus.crashed, EpisodeStatus.off_track)
    assert (len(sent), sent.status, sent.progress_pct, sent.time_s) == (4, EpisodeStatus.off_track, 4.0, 2.4)
    assert sent.rewards.tolist() == sent.steps["reward"].tolist()


def test_worlds_without_places_hold_nothing() -> None:
    assert (TrackObjects.none(3).places, len(TrackObjects.none(3).kind)) == (0, 3)


@pytest.mark.parametrize("truth", [2, 255])
def test_a_truth_value_that_is_neither_is_refused(truth: int) -> None:
    bad = rollout(4)
    bad.steps["all_wheels_on_track"].view("u1")[2] = truth
    with pytest.raises(WireError, match="neither 0 nor 1"):
        read(rollout_to_bytes(bad, WORKER, 1, ORDER))


def test_more_steps_than_an_episode_may_have_are_refused() -> None:
    with pytest.raises(WireError, match="1 to 50 steps"):
        read(rollout_to_bytes(rollout(51), WORKER, 1, ORDER))
    with pytest.raises(WireError, match="are taken here"):
        read_worker_message(bytes(RULES.most_bytes + 1), RULES.most_bytes)


def test_the_bound_of_a_message_is_that_of_the_longest_episode_past_the_most_objects() -> None:
    sent = rollout(50, continuous=True)
    random = np.random.default_rng(0)
    x_m, y_m, heading_rad, speed_mps = (random.normal(size=(50, MAX_OBJECTS)) for _ in range(4))
    kind, colour = (random.integers(0, 3, (50, MAX_OBJECTS), np.uint8) for _ in range(2))
    sent.objects = TrackObjects(kind, x_m, y_m, heading_rad, speed_mps, colour)
    data = rollout_to_bytes(sent, WORKER, 1, ORDER)
    assert_same(read(data, CONTINUOUS)[1], sent)
    _, body = unframe(data, CONTINUOUS.most_bytes)
    # each step, and what is seen after the last one
    rest = STEP_DTYPE.itemsize + 2 * 8 + MAX_OBJECTS * (1 + 1 + 4 * 8)
    assert len(body) + rest == CONTINUOUS.most_bytes - OVERHEAD - MAX_HEADER_BYTES
