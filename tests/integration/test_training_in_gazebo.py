"""Training in Gazebo: in one process, with workers, and with workers at a Redis, to the same bytes."""

import time
from pathlib import Path

import pytest

from tests.gazebo_support import needs_gazebo
from tests.integration.test_training_with_workers import finished, numbers, run_of, undercut
from tests.redis_server import RedisServer

pytestmark = [needs_gazebo, pytest.mark.gazebo, pytest.mark.slow, pytest.mark.timeout(3600)]

CONFIG = """{
 "cars": 1, "seed": 5, "precision": "float32", "track": "paddock", "simulator": "gazebo",
 "training": {"max_iterations": 2, "min_eval_trials": 2, "max_episode_steps": 40, "clean_evaluations": 0},
 "evaluation": {"number_of_trials": 1, "number_of_resets": 0, "max_lap_steps": 60}, "name": "%s"
}"""
HYPERPARAMETERS = '{"num_episodes_between_training": 5, "num_epochs": 3, "batch_size": 32}'


def gazebo_run(folder: Path, name: str) -> list[str]:
    """Arguments of a training of CONFIG."""
    return run_of(folder, name, config=CONFIG, hyperparameters=HYPERPARAMETERS)


def assert_same(folder: Path, one: str, other: str) -> None:
    first, second = numbers(folder, one), numbers(folder, other)
    assert set(first) == set(second) and len(first) > 12
    assert [key for key in first if first[key].replace(one.encode(), other.encode()) != second[key]] == []


def test_two_workers_train_to_the_bytes_of_one_process(tmp_path: Path) -> None:
    finished(undercut(tmp_path, *gazebo_run(tmp_path, "alone")))
    output = finished(undercut(tmp_path, *gazebo_run(tmp_path, "twain"), "--workers", "2"))
    assert output.count("has joined") == 2, output
    assert_same(tmp_path, "alone", "twain")


@pytest.mark.redis
def test_workers_at_a_redis_train_in_gazebo_and_one_is_killed(tmp_path: Path) -> None:
    finished(undercut(tmp_path, *gazebo_run(tmp_path, "alone")))
    with RedisServer() as server:
        where = {
            "UNDERCUT_REDIS_URL": f"redis://127.0.0.1:{server.address.port}/0",
            "UNDERCUT_REDIS_PASSWORD_FILE": str(server.address.password_file),
        }
        workers = [undercut(tmp_path, "worker", "--threads", "1", **where) for _ in range(2)]
        try:
            training = undercut(tmp_path, *gazebo_run(tmp_path, "redis"), **where)
            saved = tmp_path / "runs/redis/model/deepracer_checkpoints.json"
            end_s = time.monotonic() + 1200
            while not saved.exists():
                assert time.monotonic() < end_s, "waited 1200 s for the first iteration"
                assert training.poll() is None, finished(training)
                time.sleep(0.2)
            workers[0].kill()
            finished(training)
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate(timeout=60)
    assert_same(tmp_path, "alone", "redis")
