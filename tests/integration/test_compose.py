"""Training in the stack's containers: to the same numbers as in one process, whatever dies meanwhile."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import artifacts
from tests.conftest import REPO
from tests.docker_engine import StackUnderTest, docker, need_engine, stack_under_test, until

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(5400)]

CUT_S = 30.0
SHAKEN = ("train", "shaken", "--quick", "--seed", "11")
CLOCK_TIMES = ("model/deepracer_checkpoints.json",)
"""Files that say when something was written."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackUnderTest]:
    with stack_under_test("undercut-test", tmp_path_factory.mktemp("stack")) as it:
        yield it


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, stack: StackUnderTest) -> StackUnderTest:
    """The same command line without the stack, in another folder."""
    return StackUnderTest(stack.name, tmp_path_factory.mktemp("here"))


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in CLOCK_TIMES}


def assert_same_run(stack: StackUnderTest, here: StackUnderTest, name: str) -> None:
    """Every file of the two, checkpoints among them, byte for byte."""
    one, other = contents(stack.folder / "runs" / name), contents(here.folder / "runs" / name)
    assert set(one) == set(other)
    assert artifacts.TRAINING_METRICS in one and artifacts.EVALUATION_METRICS in one
    assert [key for key in one if one[key] != other[key]] == []


def test_the_stacks_numbers_are_those_of_one_process(stack: StackUnderTest, here: StackUnderTest) -> None:
    arguments = ("train", "same", "--quick", "--seed", "3")
    stack.undercut(*arguments, "--backend", "compose")
    here.undercut(*arguments)
    assert_same_run(stack, here, "same")


def test_an_evaluation_in_the_stack_is_the_one_here(stack: StackUnderTest, here: StackUnderTest) -> None:
    """Needs the run of the test before."""
    arguments = ("evaluate", "same", "--laps", "2", "--seed", "5")
    stack.undercut(*arguments, "--backend", "compose")
    here.undercut(*arguments)
    assert_same_run(stack, here, "same")


SWEEP = """
trials: 2
objective: completion
pruner: none
sampler: random
run:
  cars: 4
  training: {max_iterations: 2, max_episode_steps: 20, min_eval_trials: 1, clean_evaluations: 0}
  evaluation: {number_of_trials: 1, max_lap_steps: 20, number_of_resets: 0}
hyperparameters: {num_episodes_between_training: 5, num_epochs: 3, batch_size: 32}
search:
  run.seed: [1, 2, 3]
"""


def test_a_sweep_in_the_stack_is_the_one_here(stack: StackUnderTest, here: StackUnderTest) -> None:
    """Two trials side by side in one container, and a simulator that drives for both."""
    for one in (stack, here):
        (one.folder / "s.yaml").write_text(SWEEP)
    stack.undercut("sweep", "s.yaml", "--backend", "compose", "--parallel", "2", "--scale", "1")
    here.undercut("sweep", "s.yaml", "--parallel", "2")
    for name in ("s-0001", "s-0002"):
        assert_same_run(stack, here, name)
    stack.undercut("sweep", "s.yaml", "--backend", "compose", "--show")


def test_the_page_shows_the_stored_runs_to_whoever_has_its_address(stack: StackUnderTest) -> None:
    address = re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", stack.undercut("stack", "up").stdout)
    assert address is not None
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(), urllib.request.ProxyHandler({}))
    assert b"<title>undercut" in browser.open(address[0], timeout=60).read()
    base = address[0].partition("/?")[0]
    runs = json.loads(browser.open(f"{base}/api/runs", timeout=60).read())
    assert "same" in json.dumps(runs)
    stranger = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        stranger.open(f"{base}/api/runs", timeout=60)


def test_racers_own_files_reach_the_containers(stack: StackUnderTest, here: StackUnderTest) -> None:
    reward = "import helper\n\ndef reward_function(params):\n    return helper.value(params)\n"
    for it in (stack, here):
        (it.folder / "mine.py").write_text(reward)
        (it.folder / "helper.py").write_text("def value(params):\n    return 1.0 + params['speed']\n")
    options = ("--reward", "mine.py", "--metadata", str(REPO / "actions" / "front_shallow_two_speed.json"))
    arguments = ("train", "mine", "--quick", "--iterations", "1", "--video-every", "1", *options)
    stack.undercut(*arguments, "--backend", "compose")
    here.undercut(*arguments)
    assert_same_run(stack, here, "mine")
    assert len([name for name in contents(stack.folder / "runs" / "mine") if name.endswith(".mp4")]) == 3


def test_a_racers_error_ends_the_training_with_the_traceback(stack: StackUnderTest) -> None:
    (stack.folder / "broken.py").write_text("def reward_function(params):\n    return params['sped']\n")
    run = stack.undercut("train", "broken", "--quick", "--reward", "broken.py", "--backend", "compose", check=False)
    assert run.returncode == 1
    assert "KeyError: 'sped'" in run.stdout + run.stderr
    assert stack.state("trainer")["Restarting"] is False


def test_ctrl_c_saves_and_the_same_command_goes_on(stack: StackUnderTest) -> None:
    arguments = ("train", "stopped", "--quick", "--iterations", "30", "--backend", "compose")
    training = stack.start(*arguments)
    until("a first iteration", lambda: stack.iterations() >= 1 or training.poll() is not None)
    training.send_signal(signal.SIGTERM)  # as Ctrl-C, which a background job ignores
    assert training.wait(600) == 130, stack.said()
    kept = stack.folder / "runs" / "stopped" / "iterations.json"
    assert kept.exists() and stack.iterations() < 30
    assert not stack.state("trainer")["Running"] and not stack.state("simapp")
    before = kept.read_text().count('"iteration"')
    stack.undercut("train", "stopped", "--iterations", str(before + 1), "--backend", "compose")
    assert kept.read_text().count('"iteration"') == before + 1


def test_parts_die_join_and_leave_and_the_numbers_stay(stack: StackUnderTest, here: StackUnderTest) -> None:
    """kill -9 of every part, a second simulator that joins, runs out of memory and leaves, the network cut: all in one
    training."""
    training = stack.start(*SHAKEN, "--iterations", "200", "--backend", "compose")

    def after(iteration: int) -> None:
        until(
            f"iteration {iteration}\n{stack.said()}",
            lambda: stack.iterations() >= iteration or training.poll() is not None,
            1200,
        )
        assert training.poll() is None, stack.said()

    after(1)
    for service in ("simapp", "redis", "minio", "trainer"):
        before = stack.iterations()
        stack.kill(service)
        until(f"{service} is back", lambda service=service: stack.is_back(service), 180)  # type: ignore[misc]
        after(before + 1)
    stack.undercut("stack", "scale", "2")
    until("a second worker", lambda: stack.said().count("has joined") >= 3, 300)
    network, simapp = f"{stack.name}_rollouts", stack.container("simapp")
    docker("network", "disconnect", network, simapp)
    time.sleep(CUT_S)
    docker("network", "connect", network, simapp)
    stack.starve("simapp", 2)
    until("the starved worker's end", lambda: stack.said().count("has not been heard of") >= 3, 180)
    stack.undercut("stack", "scale", "1")
    training.send_signal(signal.SIGTERM)
    assert training.wait(600) == 130, stack.said()
    assert "started again" in stack.said()
    done = (stack.folder / "runs" / "shaken" / "iterations.json").read_text().count('"iteration"')
    assert done > 4
    for it, backend in ((stack, ("--backend", "compose")), (here, ())):
        it.undercut(*SHAKEN, "--iterations", str(done), *backend)
    assert_same_run(stack, here, "shaken")


def test_wrong_credentials_and_a_missing_bucket_are_named(stack: StackUnderTest, tmp_path: Path) -> None:
    secrets = REPO / "compose" / "secrets"
    wrong = tmp_path / "wrong"
    wrong.write_text("[default]\naws_access_key_id = undercut-trainer\naws_secret_access_key = not-the-secret\n")
    wrong.chmod(0o644)
    root = (secrets / "minio_root_user").read_text(), (secrets / "minio_root_password").read_text()

    def train(*options: str) -> str:
        networks = ("--network", f"{stack.name}_storage")
        start = ("--entrypoint", "/opt/undercut/compose/image/start", "--workdir", "/tmp")
        settings = ("--env", "AWS_ENDPOINT_URL_S3=http://minio:9000", "--env", "AWS_REGION=us-east-1")
        image = docker("inspect", "--format", "{{.Config.Image}}", stack.container("trainer")).stdout.strip()
        command = (image, "undercut", "train", "x", "--quick")
        run = docker("run", "--rm", *networks, *start, *settings, *options, *command, check=False)
        assert run.returncode == 1, run.stdout + run.stderr
        return run.stdout + run.stderr

    mounted = ("--volume", f"{wrong}:/run/wrong:ro", "--env", "AWS_SHARED_CREDENTIALS_FILE=/run/wrong")
    said = train(*mounted, "--env", "UNDERCUT_STORE=s3://undercut")
    assert "access key and secret are those of a user" in said and "AWS_SHARED_CREDENTIALS_FILE" in said
    keys = ("--env", f"AWS_ACCESS_KEY_ID={root[0]}", "--env", f"AWS_SECRET_ACCESS_KEY={root[1]}")
    assert "the bucket exists" in train(*keys, "--env", "UNDERCUT_STORE=s3://nowhere")
    redis = ("--network", f"{stack.name}_rollouts", "--env", "UNDERCUT_REDIS_URL=redis://undercut@redis:6379/0")
    password = ("--volume", f"{wrong}:/run/wrong:ro", "--env", "UNDERCUT_REDIS_PASSWORD_FILE=/run/wrong")
    assert "user and password are those of the server" in train(*redis, *password)


def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    """The store's volume holds one checkpoint and not two."""
    need_engine()
    name = f"undercut-full-{os.getpid()}"
    options = ("--driver", "local", "--opt", "type=tmpfs", "--opt", "device=tmpfs")
    docker("volume", "create", *options, "--opt", "o=size=400m,mode=1777", f"{name}_minio-data")
    it = StackUnderTest(name, tmp_path)
    try:
        run = it.undercut("train", "full", "--quick", "--iterations", "5", "--backend", "compose", check=False)
        assert run.returncode == 1, run.stdout + run.stderr
        assert "room on the server's disk" in run.stdout + run.stderr
        saved = (tmp_path / "runs" / "full" / "iterations.json").read_text().count('"iteration"')
        assert 1 <= saved < 5
    finally:
        it.undercut("stack", "wipe", "--yes", check=False)
