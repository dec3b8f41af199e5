"""The stack's own logic, with a `docker` that only writes down what it is asked."""

import configparser
import hashlib
import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract import artifacts
from contract.config import RunConfig
from contract.errors import InputError
from contract.stores.local import LocalStore
from tests.conftest import REPO
from tests.docker_api import CONTAINER, DockerApi, docker_api
from undercut.backends.compose import training as stack_training
from undercut.backends.compose.engine import Stack, StackError, engine, set_variables
from undercut.backends.compose.secrets import CONTAINER_ID, make_secrets, owner
from undercut.backends.compose.training import Trainer, bring, is_training, job_file, mounts, pull
from undercut.cli.stack import without_backend
from undercut.exit_codes import BAD_INPUT, status_of
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, DEFAULT_REWARD, Run

# --- secrets and settings --------------------------------------------------------------------------------------------


def test_secrets_are_random_private_and_made_once(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        make_secrets(folder, os.getuid(), os.getgid())
    assert stat.S_IMODE(one.stat().st_mode) == 0o700
    contents = {path.name: path.read_text() for path in one.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in one.iterdir()} == {0o600}
    same = {name for name, text in contents.items() if (other / name).read_text() == text}
    assert same == {"minio_root_user"}
    assert all(len(contents[name]) >= 40 for name in ("redis_password", "minio_root_password"))
    make_secrets(one, os.getuid(), os.getgid())
    assert {path.name: path.read_text() for path in one.iterdir()} == contents


def test_secrets_files_are_what_their_servers_read(tmp_path: Path) -> None:
    make_secrets(tmp_path, os.getuid(), os.getgid())
    password = (tmp_path / "redis_password").read_text()
    users = (tmp_path / "redis_users").read_text().splitlines()
    assert users[0] == "user default off"
    assert f"#{hashlib.sha256(password.encode()).hexdigest()}" in users[1] and password not in users[1]
    keys = set()
    for name in ("s3_trainer", "s3_viewer"):
        parsed = configparser.ConfigParser()
        parsed.read(tmp_path / name)
        keys.add(parsed["default"]["aws_access_key_id"])
        assert len(parsed["default"]["aws_secret_access_key"]) >= 40
    assert len(keys) == 2


def test_a_lost_secret_is_made_anew_and_the_others_stay(tmp_path: Path) -> None:
    make_secrets(tmp_path, os.getuid(), os.getgid())
    kept = (tmp_path / "s3_trainer").read_text()
    (tmp_path / "redis_password").unlink()
    make_secrets(tmp_path, os.getuid(), os.getgid())
    digest = hashlib.sha256((tmp_path / "redis_password").read_bytes()).hexdigest()
    assert f"#{digest}" in (tmp_path / "redis_users").read_text()
    assert (tmp_path / "s3_trainer").read_text() == kept


@pytest.mark.parametrize(
    ("uid", "gid", "rootless", "expected"),
    [
        (1000, 1001, False, (1000, 1001)),
        (0, 0, False, (CONTAINER_ID, CONTAINER_ID)),  # containers are never root's
        (1000, 1000, True, (0, 0)),  # the engine maps its root to this user
    ],
)
def test_containers_run_as_the_owner_of_the_secrets(
    uid: int, gid: int, rootless: bool, expected: tuple[int, int]
) -> None:
    assert owner(uid, gid, rootless) == expected


def test_variables_are_set_beside_those_of_the_racer(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    set_variables(path, {"STACK_UID": "1", "STACK_GID": "2"})
    assert path.read_text() == "STACK_UID=1\nSTACK_GID=2\n"
    path.write_text("# mine\nSTACK_S3_PORT=9010\nSTACK_UID=7\n")
    set_variables(path, {"STACK_UID": "1", "STACK_GID": "2"})
    assert path.read_text() == "# mine\nSTACK_S3_PORT=9010\nSTACK_UID=1\nSTACK_GID=2\n"


# --- docker ----------------------------------------------------------------------------------------------------------

Docker = Callable[[dict[str, Any]], Callable[[], list[str]]]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Makes a docker command that answers by its arguments' beginnings; returns what it was asked so far."""

    def make(answers: dict[str, Any]) -> Callable[[], list[str]]:
        folder, log = tmp_path / "bin", tmp_path / "asked"
        folder.mkdir()
        script = [f'#!/bin/sh\necho "$*" >> {log}\ncase "$*" in']
        for pattern, answer in answers.items():
            text, status = answer if isinstance(answer, tuple) else (answer, 0)
            (folder / f"{len(script)}.txt").write_text(text)
            script.append(f'*"{pattern}"*) cat "{folder}/{len(script)}.txt" >&{2 if status else 1}; exit {status};;')
        (folder / "docker").write_text("\n".join([*script, "esac\n"]))
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return lambda: log.read_text().splitlines() if log.exists() else []

    return make


def test_without_docker_it_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"(?s)no docker command.*docs\.docker\.com"):
        Stack().ask("config")


def test_an_engine_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(StackError, match=r"(?s)no Docker engine answers.*systemctl start docker.*docs\.docker\.com"):
        engine()


def test_the_engine_is_the_one_of_the_docker_commands_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Docker Desktop, rootless engines and others are contexts of ~/.docker, whose folder is named by their SHA-256."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    folder = tmp_path / ".docker"
    with docker_api(DockerApi()) as host:
        meta = folder / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
        meta.mkdir(parents=True)
        told = {"Name": "mine", "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}}
        (meta / "meta.json").write_text(json.dumps(told))
        (folder / "config.json").write_text(json.dumps({"currentContext": "mine"}))
        assert "name=rootless" in engine().info()["SecurityOptions"]


def test_a_failing_command_is_named_with_its_status(docker: Docker) -> None:
    docker({"up": ("bind: address already in use", 17)})
    with pytest.raises(StackError, match=r"docker compose up ended with status 17"):
        Stack().run("up")


def test_images_are_built_unless_a_setting_names_another(docker: Docker) -> None:
    images = {
        "redis": "undercut-redis:0.1.0",
        "minio": "quay.io/minio/minio:RELEASE",
        "trainer": "undercut-trainer:0.1.0-gpu",
        "simapp": "undercut-simapp:0.1.0",
    }
    config = json.dumps({"services": {name: {"image": image} for name, image in images.items()}})
    asked = docker({"config": config})
    Stack(["gpu"]).build()
    commands = [line.split("gpu.yaml ", 1)[1] for line in asked()]
    assert commands == [
        "config --format json",
        "build --quiet redis trainer simapp",
        "pull --quiet --policy missing minio",
    ]


def test_an_installed_package_has_nothing_to_build_images_from(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"(?s)is an installed package.*clone its repository"):
        Stack(folder=tmp_path / "compose").up()
    assert not (tmp_path / "compose").exists()


def test_overlays_come_after_the_stack_and_a_job_after_both() -> None:
    command = Stack(["gpu"]).command("up", extra=[Path("/tmp/job.yaml")])
    files = [command[at + 1] for at, part in enumerate(command) if part == "-f"]
    assert [Path(path).name for path in files] == ["compose.yaml", "gpu.yaml", "job.yaml"]


# --- a training's files ----------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LocalStore, LocalStore]:
    """The run `mine` here, and where the stack's store would have it; both empty."""
    monkeypatch.chdir(tmp_path)
    there = LocalStore(tmp_path / "store" / "mine")
    monkeypatch.setattr(stack_training, "run_place", lambda name: there)
    return LocalStore(tmp_path / "runs" / "mine"), there


def make_run(place: LocalStore, iterations: int, seed: int = 0, reward: Path = DEFAULT_REWARD) -> None:
    config = RunConfig(name="mine", seed=seed)
    Run.create(config, reward, DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS, place=place)
    numbers = ("reward", "completion_pct", "evaluation_completion_pct", "entropy", "policy_loss", "value_loss")
    row = dict.fromkeys((*numbers, "kl_divergence"), 0.0)
    rows = [{"iteration": number, "steps": 100 * number, **row} for number in range(iterations)]
    place.put(artifacts.ITERATIONS, json.dumps(rows).encode())


def test_a_run_of_this_folder_goes_on_in_the_stack(folders: tuple[LocalStore, LocalStore]) -> None:
    here, there = folders
    make_run(here, 3)
    said: list[str] = []
    bring("mine", said.append)
    assert said and {key: there.get(key) for key in there.list("")} == {key: here.get(key) for key in here.list("")}


@pytest.mark.parametrize(("ours", "theirs"), [(2, 5), (5, 2)])
def test_of_two_copies_the_longer_one_counts(folders: tuple[LocalStore, LocalStore], ours: int, theirs: int) -> None:
    here, there = folders
    make_run(here, ours)
    make_run(there, theirs)
    bring("mine", lambda line: None)
    pull("mine")
    for place in folders:
        assert len(json.loads(place.get(artifacts.ITERATIONS))) == 5


def test_two_different_runs_of_one_name_are_told_apart(
    folders: tuple[LocalStore, LocalStore],
) -> None:
    here, there = folders
    make_run(here, 1, reward=REPO / "rewards" / "prevent_zig_zag.py")
    make_run(there, 2)
    before = there.get(artifacts.REWARD_FUNCTION)
    with pytest.raises(InputError, match=r"(?s)reward_function\.py.*another run name"):
        bring("mine", lambda line: None)
    make_run(here, 1, seed=7)
    with pytest.raises(InputError, match="seed"):
        bring("mine", lambda line: None)
    assert there.get(artifacts.REWARD_FUNCTION) == before


def test_pull_of_a_run_that_is_not_there_names_it(folders: tuple[LocalStore, LocalStore]) -> None:
    with pytest.raises(InputError, match="mine"):
        pull("mine")


# --- containers ------------------------------------------------------------------------------------------------------


def test_files_named_by_path_come_along_under_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.npy").touch()
    (tmp_path / "paddock").mkdir()  # a folder that happens to have a track's name
    absolute = tmp_path / "mine.npy"
    found = mounts(["mine.npy", str(absolute), "paddock", "switchback", "", "../" + tmp_path.name + "/mine.npy"])
    assert [it["target"] for it in found] == ["/work/mine.npy", str(absolute), f"/{tmp_path.name}/mine.npy"]
    assert all(it["source"] == str(absolute) and it["read_only"] for it in found)
    with job_file("trainer", ["train", "mine", "--video-every", "5"], mounts(["mine.npy"])) as path:
        trainer = json.loads(path.read_text())["services"]["trainer"]
    assert trainer["command"] == ["train", "mine", "--video-every", "5"] and len(trainer["volumes"]) == 1
    assert not path.exists()


def test_evaluate_in_the_stack_gets_the_same_options() -> None:
    line = ["undercut", "evaluate", "mine", "--backend", "compose", "--laps", "3", "--overlay=gpu", "--track", "mine"]
    line.insert(5, "--view")  # of the stack's own page
    assert without_backend(line) == ["mine", "--laps", "3", "--track", "mine"]


@pytest.mark.parametrize(
    ("last", "code", "status"),
    [
        ("bundle for the car: x", 0, 0),
        ("ended with status 1\n", 0, 1),
        ("", 137, 137),
        ("a\nended with status 2\nb", 0, 2),
    ],
)
def test_status_of_a_service(last: str, code: int, status: int) -> None:
    assert status_of(last, code) == status


@pytest.mark.slow
def test_the_service_ends_in_peace_after_an_explained_error(tmp_path: Path) -> None:
    command = [
        str(REPO / ".venv" / "bin" / "python"),
        "-m",
        "undercut.backends.compose.service",
        "tracks",
        "show",
        "nowhere",
    ]
    run = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert "nowhere" in run.stderr
    assert status_of(run.stdout.splitlines()[-1], run.returncode) == BAD_INPUT and run.returncode == 0


STATE = {"Running": True, "Restarting": False, "StartedAt": "1970-01-01T00:00:01.123456789Z", "ExitCode": 0}
STATE |= {"FinishedAt": "0001-01-01T00:00:00Z"}
AGAIN = {**STATE, "StartedAt": "1970-01-01T00:00:03.5Z", "FinishedAt": "1970-01-01T00:00:02.123456789Z"}


def test_a_second_training_is_refused_and_the_same_one_followed(
    docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker({"ps --all": f"{CONTAINER}\n"})
    with docker_api(DockerApi([STATE], ("train", "other", "--video-every", "5"))) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(StackError, match="trains 'other' already"):
            Trainer.start(Stack(), "mine", 1, lambda line: None)
        assert not is_training(Stack(), "mine")
        assert Trainer.start(Stack(), "other", 1, lambda line: None).container == CONTAINER


def test_a_trainer_is_followed_across_its_restart(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The log ends when the container dies; the second look finds it running since later, the last one ended."""
    dying = {**STATE, "Running": False, "Restarting": True, "ExitCode": 137}
    logs = {0: b"a line\n", 2: b"more\nended with status 1\nread after it\n"}
    api = DockerApi([STATE, dying, AGAIN, AGAIN, {**AGAIN, "Running": False}], logs=logs)
    said: list[str] = []
    with docker_api(api) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        assert Trainer(Stack(), said.append, CONTAINER).follow() == 1
    assert capfdbinary.readouterr().out == logs[0] + logs[2]
    assert len(said) == 1 and "started again" in said[0]


def test_ctrl_c_goes_on_to_the_container_and_its_log_to_the_end(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    press = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    api = DockerApi([STATE, STATE, {**STATE, "Running": False}], logs={0: b"saved\n"}, followed=press)
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)
    with docker_api(api) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        assert Trainer(Stack(), said.append, CONTAINER).follow() == 0
    assert api.asked == ["kill SIGINT"] and said == ["stopping the training in the stack"]
    assert capfdbinary.readouterr().out == b"saved\n" and signal.getsignal(signal.SIGINT) == before
