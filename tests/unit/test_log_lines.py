"""The guidance's metric definitions, applied to a run's log lines, give the run's own numbers.

The regexes are those of metric_definitions in the guidance's notebook (dpr401/deepracer_rl.ipynb), which SageMaker
applies to every line that a training job prints.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import artifacts
from contract.metrics import parse_training_metrics
from contract.simtrace import from_csv, log_lines
from tests.exported import EPOCHS, ITERATIONS, PER_ITERATION, Driven, driven_run, steps_of
from undercut.interchange.exporting import export

METRIC_DEFINITIONS = {
    "reward-training": "^Training>.*Total reward=(.*?),",
    "ppo-surrogate-loss": "^Policy training>.*Surrogate loss=(.*?),",
    "ppo-entropy": "^Policy training>.*Entropy=(.*?),",
    "reward-testing": "^Testing>.*Total reward=(.*?),",
}
LINE = re.compile(
    r"(Training|Testing)> Name=main_level/agent, Worker=0, Episode=(\d+), Total reward=-?\d+(?:\.\d+)?, Steps=(\d+), "
    r"Training iteration=(\d+)"
)
UPDATE = re.compile(
    r"Policy training> Surrogate loss=\S+, KL divergence=\S+, Entropy=\S+, training epoch=(\d+), learning_rate=0\.0003"
)


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("racer"))
        driven = driven_run()
        export(driven.run, "console", Path("console"))
        yield driven


@pytest.fixture(scope="module")
def lines(driven: Driven) -> list[str]:
    logs = [driven.run.store.get(artifacts.training_log(i)).decode() for i in range(ITERATIONS)]
    return "".join(logs).splitlines()


def values(name: str, lines: list[str]) -> list[float]:
    found = (re.search(METRIC_DEFINITIONS[name], line) for line in lines)
    return [float(match[1]) for match in found if match]


def test_rewards_are_those_of_the_metrics(driven: Driven, lines: list[str]) -> None:
    text = driven.run.store.get(artifacts.TRAINING_METRICS).decode()
    rows = parse_training_metrics(text, artifacts.TRAINING_METRICS)
    for name, phase in (("reward-training", "training"), ("reward-testing", "evaluation")):
        told = values(name, lines)
        expected = [row.reward_score for row in rows if row.phase == phase]
        assert [round(value) for value in told] == pytest.approx(expected, abs=1)
        assert len(told) == len(expected) > 0
    rollouts = [lap for laps in driven.training for lap in laps]
    assert values("reward-training", lines) == [round(float(lap.rewards.sum()), 2) for lap in rollouts]


def test_losses_are_those_of_the_updates(lines: list[str]) -> None:
    assert values("ppo-surrogate-loss", lines) == [row["surrogate_loss"] for row in EPOCHS] * ITERATIONS
    assert values("ppo-entropy", lines) == [row["entropy"] for row in EPOCHS] * ITERATIONS


def test_every_line_is_whole(driven: Driven, lines: list[str]) -> None:
    """Episodes count from 1 and steps from the run's beginning, as in recorded logs."""
    episodes = [LINE.fullmatch(line) for line in lines if not line.startswith("Policy")]
    assert all(episodes)
    trained = [match for match in episodes if match and match[1] == "Training"]
    assert [int(match[2]) for match in trained] == list(range(1, ITERATIONS * PER_ITERATION + 1))
    assert [int(match[4]) for match in trained] == [i for i in range(ITERATIONS) for _ in range(PER_ITERATION)]
    lengths = [len(lap) for laps in driven.training for lap in laps]
    assert [int(match[3]) for match in trained] == [sum(lengths[: k + 1]) for k in range(len(lengths))]
    updates = [UPDATE.fullmatch(line) for line in lines if line.startswith("Policy")]
    assert [int(match[1]) for match in updates if match] == list(range(len(EPOCHS))) * ITERATIONS


def test_simulation_log_has_every_step(driven: Driven) -> None:
    """DeepRacer's log readers cut a line at SIM_TRACE_LOG: and commas."""
    (log,) = Path("console/logs/training").glob("*-robomaker.log")
    rows = [line.split("SIM_TRACE_LOG:")[1].split(",") for line in log.read_text().splitlines() if "SIM_TRACE" in line]
    steps = steps_of([lap for laps in driven.training for lap in laps])
    assert len(rows) == len(steps)
    assert [int(row[1]) for row in rows[:3]] == [1, 2, 3]
    assert [float(row[8]) for row in rows] == steps["reward"].tolist()
    assert [float(row[11]) for row in rows] == steps["progress_pct"].tolist()


def test_log_lines_of_a_file_are_its_rows() -> None:
    csv = (
        "episode,steps,X,Y,yaw,steer,throttle,action,reward,done,all_wheels_on_track,progress,closest_waypoint,track_len,"
        "tstamp,episode_status,pause_duration\n"
        "3,10.0,1.5,2.0,90.0,-15.0,1.5,[0.5 -1.0],0.1,True,False,12.5,7,17.7,4.2,off_track,0.0\n"
    )
    assert log_lines(csv, "0-iteration.csv") == [
        "SIM_TRACE_LOG:3,10,1.5,2.0,90.0,-15.0,1.5,[0.5 -1.0],0.1,True,False,12.5,7,17.7,4.2,off_track,0.0"
    ]
    (trace,) = from_csv(csv, "0-iteration.csv")
    assert trace.actions.tolist() == [[0.5, -1.0]]
