"""What may still be taken of a machine's or a container's memory, and what is refused because of it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from contract import memory
from contract.hyperparameters import Hyperparameters
from contract.memory import RESERVE_BYTES, DoesNotFitError, check_fits, free_bytes
from contract.protocols import ActionDistribution, Phase, RolloutOrder
from contract.state import Observations
from simapp.race import Race, RaceRules
from simapp.rollout import ROOM_STEPS, collect
from tests.stock_coach import episode, metadata
from tests.support import BlindSimulator, circle
from trainer.agents import CoachAgent, SacAgent

GIB = 2**30


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": f"MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:   {8 * GIB // 1024} kB\n"}
V2 = {
    "proc/self/cgroup": "0::/job/step\n",
    "sys/fs/cgroup/job/step/memory.max": "max\n",
    "sys/fs/cgroup/job/step/memory.current": f"{GIB}\n",
    "sys/fs/cgroup/job/memory.max": f"{4 * GIB}\n",
    "sys/fs/cgroup/job/memory.current": f"{3 * GIB}\n",
    "sys/fs/cgroup/job/memory.stat": f"anon 5\ninactive_file {GIB // 2}\nactive_file 7\n",
}
V1 = {
    "proc/self/cgroup": "3:cpu,cpuacct:/other\n4:memory:/docker/abc\n",  # the path of the host: not there in here
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GIB // 2}\n",
    "sys/fs/cgroup/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 4}\n",
}
UNLIMITED = {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 9 kB\n"}, None),
        (MEMINFO, 8 * GIB),
        (MEMINFO | V2, 3 * GIB // 2),
        (MEMINFO | V1, 3 * GIB // 4),
        (MEMINFO | V1 | UNLIMITED, 8 * GIB),
        (V1, 3 * GIB // 4),
        (MEMINFO | V2 | {"sys/fs/cgroup/job/memory.current": f"{5 * GIB}\n"}, 0),
    ],
    ids=["unknown", "old kernel", "machine", "parent v2", "container v1", "unlimited v1", "v1 alone", "over"],
)
def test_free_bytes_of_machines_and_containers(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    assert free_bytes(machine(tmp_path, files)) == expected


def test_this_machine_tells() -> None:
    free = free_bytes()
    assert free is None or 0 < free < 2**50


def test_the_refusal_has_the_arithmetic() -> None:
    parts = {"frames": 3.0 * GIB, "weights": 300.0 * 2**20}
    check_fits("an update", parts, "lower it", None)
    check_fits("an update", parts, "lower it", int(sum(parts.values())) + RESERVE_BYTES)
    with pytest.raises(DoesNotFitError) as caught:
        check_fits("an update", parts, "lower it", 2 * GIB)
    assert str(caught.value).splitlines() == [
        "an update needs 3.3 GiB of memory, and 1.8 GiB can be had",
        "      3.0 GiB  frames",
        "      300 MiB  weights",
        "  rule: what does not fit is refused before the system kills the process; finished iterations are kept",
        "  fix:  lower it",
    ]


def test_networks_that_do_not_fit_are_refused_before_anything_is_driven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda: GIB // 2)
    with pytest.raises(DoesNotFitError, match=r"644 MiB  layers: minibatches of 512 steps x 1\.3 MiB\n[^$]* to 256"):
        CoachAgent(metadata(), Hyperparameters(batch_size=512), seed=1)


@pytest.mark.slow
def test_a_replay_memory_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dataclasses.replace(metadata(continuous=True), algorithm="sac")
    monkeypatch.setattr(memory, "free_bytes", lambda: GIB)
    with pytest.raises(DoesNotFitError, match=r"1\.0 GiB  replay memory, and its copies"):
        SacAgent(model, Hyperparameters(), seed=1)


@pytest.mark.slow
def test_an_update_that_no_longer_fits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = metadata()
    agent = CoachAgent(model, Hyperparameters(batch_size=32, num_epochs=3), seed=1)
    before = agent.save()
    monkeypatch.setattr(memory, "free_bytes", lambda: RESERVE_BYTES + 2**20)
    with pytest.raises(DoesNotFitError, match=r"one update needs .* and 1.0 MiB can be had"):
        agent.train([episode(0, 32, model)], 0)
    assert agent.save() == before
    monkeypatch.undo()
    agent.train([episode(0, 32, model)], 0)
    monkeypatch.setattr(memory, "free_bytes", lambda: RESERVE_BYTES)  # its allocator holds what the first one took
    assert agent.train([episode(1, 32, model)], 1).minibatches == 3


class _Straight:
    """A policy that never steers."""

    def distribution(self, observations: Observations) -> ActionDistribution:
        count = len(next(iter(observations.values())))
        return ActionDistribution(probabilities=np.tile([0.0, 0.0, 1.0, 0.0, 0.0], (count, 1)))


def test_driving_stops_before_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 cars see 19,200 bytes a step each; evaluations keep no frames."""
    race = Race(BlindSimulator(20), circle(), RaceRules(200), [lambda params: 1.0] * 20)
    needed = 20 * ROOM_STEPS * 19_200 + ROOM_STEPS * 19_200

    def drive(phase: Phase) -> int:
        order = RolloutOrder(phase, 0, 0, 20)
        return len(collect(race, _Straight(), metadata(), order, lambda car, episode, random: race.start(car, 0.0), 0))

    monkeypatch.setattr(memory, "free_bytes", lambda: RESERVE_BYTES + needed)
    assert drive(Phase.training) == 20
    monkeypatch.setattr(memory, "free_bytes", lambda: RESERVE_BYTES + needed - 1)
    with pytest.raises(DoesNotFitError, match="frames of 20 cars in 64 steps"):
        drive(Phase.training)
    assert drive(Phase.evaluation) == 20
