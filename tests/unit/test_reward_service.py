"""Rewards by programs and Lambda functions: real processes, a real HTTP endpoint, and answers that break the rules."""

import json
import logging
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError, RewardError
from contract.metadata import ModelMetadata
from contract.stores.local import LocalStore
from simapp.builtin import BuiltinSimulator
from simapp.race import Race, RaceRules, Reward
from simapp.reward_service.description import read_description
from simapp.reward_service.service import RewardService, score_all
from simapp.reward_source import RaceReward, load_reward
from simapp.tracks import load_track
from tests.conftest import REPO
from tests.lambda_server import LambdaServer
from tests.patience import PATIENCE_S, until
from undercut.runs.run import RacerFiles, Run

PROGRAMS = REPO / "rewards" / "programs"
PARAMS: dict[str, Any] = {
    "waypoints": [(0.0, 0.0), (1.0, 0.5)],
    "distance_from_center": 0.2,
    "track_width": 1.0,
    "steps": 2.0,
    "steering_angle": 0.0,
    "closest_waypoints": [0, 1],
    "is_crashed": False,
}
LOOP = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"], "rewards": [one["distance_from_center"] for one in request["params"]]}
"""


def program(folder: Path, loop: str, **told: object) -> RewardService:
    """A service whose program is LOOP with these lines in it, and what to print at the end of each request."""
    code = LOOP + textwrap.indent(textwrap.dedent(loop), "    ")
    (folder / "reward.py").write_text(code + "\n    print(json.dumps(answer), flush=True)\n")
    words = [sys.executable, "-I", "-S", "reward.py"]
    (folder / "reward.json").write_text(json.dumps({"command": words, **told}))
    return RewardService.load(folder / "reward.json")


def with_distance(*metres: float) -> list[dict[str, Any]]:
    return [{**PARAMS, "distance_from_center": distance} for distance in metres]


def alive(pid: int) -> bool:
    """A dead process that nobody has waited for yet is still listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


# --- the protocol ----------------------------------------------------------------------------------------------------


def test_all_cars_of_a_step_are_one_request_and_waypoints_come_when_they_change(tmp_path: Path) -> None:
    service = program(
        tmp_path, f"with open('seen', 'a') as file: file.write(line)\nos.system('cp seen ' + {str(tmp_path)!r})"
    )
    cars = [service.instance() for _ in range(3)]
    assert score_all(cars, with_distance(0.1, 0.2, 0.3)) == [0.1, 0.2, 0.3]
    assert score_all([cars[2], cars[0]], with_distance(0.5, 0.25)) == [0.5, 0.25]
    assert cars[1]({**PARAMS, "waypoints": [(3.0, 4.0)]}) == 0.2
    service.close()
    first, second, third = map(json.loads, (tmp_path / "seen").read_text().splitlines())
    assert (first["cars"], second["cars"], third["cars"]) == ([0, 1, 2], [2, 0], [1])
    assert (first["waypoints"], "waypoints" in second, third["waypoints"]) == ([[0, 0], [1, 0.5]], False, [[3, 4]])
    told = {key: value for key, value in PARAMS.items() if key != "waypoints"}
    assert first["params"][1] == {**told, "closest_waypoints": [0, 1]}
    assert [first["id"], second["id"], third["id"]] == [1, 2, 3]


def test_rewards_of_programs_and_of_python_stand_beside_each_other(tmp_path: Path) -> None:
    service = program(tmp_path, "")
    rewards: list[Reward] = [service.instance(), lambda params: 7.0, service.instance()]
    assert score_all(rewards, with_distance(0.1, 0.2, 0.3)) == [0.1, 7.0, 0.3]
    service.close()


def test_in_a_race_a_program_that_fails_pays_nothing_and_the_others_go_on(tmp_path: Path) -> None:
    service = program(tmp_path, "answer['rewards'] = []")
    failing, other = RaceReward(service), RaceReward(load_reward(REPO / "rewards" / "follow_center_line.py"))
    rewards = [failing.instance(), other.instance(), failing.instance()]
    for _ in range(2):
        assert score_all(rewards, with_distance(0.0, 0.0, 0.0)) == [0.0, 1.0, 0.0]
    assert "reward program" in failing.failure
    assert not other.failure
    service.close()


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        ("answer['rewards'][0] = float('nan')", r"NaN is no JSON.*\n  line: \{.*NaN"),
        ("answer['rewards'][0] = 1e6", r"reward 0 is 1000000.0\n  line: .*1000000"),
        ("answer['rewards'][0] = None", r"reward 0 is None\n  line: .*null"),
        ("answer['rewards'][0] = '1'", r"reward 0 is '1'"),
        ("answer['rewards'].append(1)", r"3 rewards for 2 cars"),
        ("del answer['rewards']", r"no list of rewards for 2 cars"),
        ("answer['id'] = 5", r"answers 5, not request 1"),
        ("answer = [1, 2]", r"no JSON object\n  line: \[1, 2\]"),
        ("answer = {'error': 'no idea'}", r"the program says: no idea"),
        ("print('debugging')", r"more than one line|this is no JSON\n  line: debugging"),
        ("answer = 'x' * 2_000_000", r"more than 1,000,000 bytes"),
    ],
    ids=lambda text: text[:24],
)
def test_an_answer_that_breaks_a_rule_is_shown(tmp_path: Path, loop: str, says: str) -> None:
    service = program(tmp_path, loop)
    with pytest.raises(RewardError, match=says):
        service.score([0, 1], with_distance(0.1, 0.2))
    service.close()


def test_a_program_that_fails_shows_its_traceback_and_the_params(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    service = program(tmp_path, "answer['rewards'][0] = request['params'][0]['speeed']")
    with pytest.raises(RewardError) as failed:
        service.score([0], [PARAMS])
    assert "ended with status 1" in str(failed.value)
    assert "KeyError: 'speeed'" in str(failed.value)
    assert "asked 2 times" in str(failed.value)
    assert "distance_from_center: 0.2" in str(failed.value)
    assert capfd.readouterr().err.count("KeyError: 'speeed'") == 2  # as it was said, too


def test_a_program_that_dies_once_is_started_again_and_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    died = tmp_path / "died"
    loop = f"""
    if request["id"] == 2 and not os.path.exists({str(died)!r}):
        open({str(died)!r}, "w").close()
        os.kill(os.getpid(), 9)
    """
    service = program(tmp_path, loop)
    with caplog.at_level(logging.WARNING):
        assert [service.score([0], with_distance(0.1)) for _ in range(3)] == [[0.1]] * 3
    assert "was ended by SIGKILL; it is started again" in caplog.text
    service.close()


def test_a_program_that_hangs_or_does_not_read_is_given_up_in_time(tmp_path: Path) -> None:
    service = program(tmp_path, "time.sleep(600)", timeout_s=0.05)
    with pytest.raises(RewardError, match=r"gave no answer for 0\.\d+ s\n.*asked 2 times\n.*raise timeout_s"):
        service.score([0], [PARAMS])
    (tmp_path / "reward.py").write_text("import time\ntime.sleep(600)\n")
    large = {**PARAMS, "objects_distance": [0.5] * 100_000}  # more than a pipe holds
    with pytest.raises(RewardError, match="gave no answer"):
        RewardService.load(tmp_path / "reward.json").score([0], [large])


def test_closing_ends_the_program_and_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    service = program(tmp_path, f"os.system('sleep 600 & echo $! > {child}')")
    service.score([0], [PARAMS])
    pid = int(child.read_text())
    assert alive(pid)
    service.close()
    until("the program's child has ended", lambda: not alive(pid))


def test_the_overhead_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = program(tmp_path, "")
    with caplog.at_level(logging.WARNING):
        for _ in range(130):
            service.score([0, 1], with_distance(0.1, 0.2))
    assert len(caplog.records) == 1
    assert "µs a step of 2 cars; a short Python function takes" in caplog.text
    service.close()


# --- descriptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("comand: [perl]", r"line 1|comand.*did you mean 'command'"),
        ("timeout_s: 3", r"a program \(command\) or an AWS Lambda function"),
        ("command: [perl]\nlambda: x", r"one of the two"),
        ("command: [no-such-program, x]", r"line 1: command.*no 'no-such-program'"),
        ("command: perl reward.pl", r"no shell splits them\n.*\[perl, reward.pl\]"),
        ("command: [perl]\nfiles: [../x]", r"line 2: files.*'../x' is none"),
        ("command: [perl]\ntimeout_s: 0", r"line 2: timeout_s.*above 0"),
        ("command: [perl]\nregion: us-east-1", r"line 2: region.*goes with lambda"),
        ("lambda: bad name", r"line 1: lambda.*name or ARN"),
    ],
)
def test_a_wrong_description_names_line_and_fix(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "reward.yaml").write_text(text)
    with pytest.raises(InputError, match=f"(?s){says}"):
        read_description(tmp_path / "reward.yaml")


def test_an_executable_alone_is_a_reward(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text(f"#!/usr/bin/env python3\n{LOOP}    print(json.dumps(answer), flush=True)\n")
    with pytest.raises(InputError, match=r"chmod \+x"):
        load_reward(path)
    path.chmod(0o755)
    reward = load_reward(path)
    assert reward.instance()(PARAMS) == 0.2


# --- a run and its workers -------------------------------------------------------------------------------------------


def test_a_run_keeps_the_program_and_workers_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    program(tmp_path / "mine", "")
    described = tmp_path / "mine" / "reward.json"
    metadata, hyper = REPO / "actions" / "default.json", REPO / "actions" / "hyperparameters.json"
    run = Run.create(RunConfig(name="a"), described, metadata, hyper)
    run.same_files(described, None, None)
    shutil.rmtree(tmp_path / "mine")
    store = LocalStore(tmp_path / "worker")
    kept = Run.open("a").files.kept()  # what a worker's job brings, beside these two
    for key in (artifacts.MODEL_METADATA, artifacts.HYPERPARAMETERS):
        kept[key] = run.store.get(key)
    for key, content in kept.items():
        store.put(key, content)
    assert RacerFiles.of(store).reward.instance()(PARAMS) == 0.2
    assert b"see reward/reward.json" in run.store.get(artifacts.REWARD_FUNCTION)
    (tmp_path / "mine").mkdir()
    program(tmp_path / "mine", "pass  # changed")
    with pytest.raises(InputError, match=r"run a: reward/reward\.py"):
        run.same_files(described, None, None)


def test_a_program_gives_the_same_rewards_as_the_same_function_in_python() -> None:
    """center_line.pl and follow_center_line.py, three cars of a race, until the last one has left the road."""
    if shutil.which("perl") is None:
        pytest.skip("needs perl: apt-get install perl")
    metadata, track = ModelMetadata.load(REPO / "actions" / "default.json"), load_track("paddock", [])
    scored = []
    for path in (PROGRAMS / "perl.yaml", REPO / "rewards" / "follow_center_line.py"):
        source = load_reward(path)
        rewards = [source.instance() for _ in range(3)]
        race = Race(BuiltinSimulator(track, [metadata] * 3), track, RaceRules(100), rewards)
        for car in range(3):
            race.start(car, 2.0 * car, 0.1 * car)
        cars, steps = np.arange(3), []
        while len(cars):
            outcome = race.step(cars, metadata.actions.controls(np.array([0, 2, 4])[cars]))
            steps.append(outcome.rows["reward"].tolist())
            cars = cars[~outcome.over]
        scored.append(steps)
    assert scored[0] == scored[1]
    assert {1.0, 0.5, 0.1} <= {reward for step in scored[0] for reward in step}


@pytest.mark.parametrize("name", ["perl", "node"])
def test_the_shipped_programs_answer(name: str) -> None:
    if shutil.which(name if name == "node" else "perl") is None:
        pytest.skip(f"needs {name}: apt-get install {'nodejs' if name == 'node' else name}")
    service = RewardService.load(PROGRAMS / f"{name}.yaml")
    assert service.score([0, 1, 2], with_distance(0.05, 0.2, 0.9)) == [1.0, 0.5, 1e-3]
    service.close()


# --- Lambda ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaServer]:
    with LambdaServer(PROGRAMS / "lambda_function.py") as server:
        for key, value in server.environment().items():
            monkeypatch.setenv(key, value)
        yield server


def lambda_service(folder: Path, **told: object) -> RewardService:
    (folder / "reward.json").write_text(json.dumps({"lambda": "deepracer-reward", "region": "us-east-1", **told}))
    return RewardService.load(folder / "reward.json")


def test_a_lambda_function_scores_all_cars_in_one_invocation(tmp_path: Path, function: LambdaServer) -> None:
    service = lambda_service(tmp_path)
    assert service.score([0, 1, 2], with_distance(0.05, 0.2, 0.9)) == [1.0, 0.5, 1e-3]
    assert service.score([0], with_distance(0.2)) == [0.5]
    assert [len(event["params"]) for event in function.events] == [3, 1]
    assert all(event["waypoints"] == [[0, 0], [1, 0.5]] for event in function.events)
    service.close()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise", r"ZeroDivisionError: float division by zero\n.*lambda_function\.py"),
        ("denied", r"AccessDeniedException.*\n.*\n.*allow lambda:InvokeFunction on function deepracer-reward"),
        ("missing", r"ResourceNotFoundException.*\n.*\n.*region \(us-east-1\)"),
        ("expired", r"ExpiredTokenException.*\n.*\n.*sign in again"),
        ("slow", r"no answer for 0\.3 s\n.*\n.*timeout_s"),
        ("garbage", r"this is no JSON\n  line: <html>"),
    ],
)
def test_what_goes_wrong_with_a_lambda_function_is_told(
    tmp_path: Path, function: LambdaServer, fault: str, says: str
) -> None:
    function.fault = fault
    service = lambda_service(tmp_path, timeout_s=0.3 if fault == "slow" else PATIENCE_S)
    with pytest.raises(RewardError, match=says):
        service.score([0], [PARAMS])


def test_a_throttled_lambda_function_is_asked_again(tmp_path: Path, function: LambdaServer) -> None:
    function.fault, function.faults = "throttled", 1
    assert lambda_service(tmp_path).score([0], [PARAMS]) == [0.5]
