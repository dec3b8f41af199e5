"""The table of faults, each row by the tests that show it, with many rounds of kills and a long cut of the network.

    python -m tests.tools.faults [--rounds 50] [--cut-s 30] [--only kill]

Needs redis-server and MinIO (compose/minio/build); rows about containers are in tests/integration/test_compose.py.
Result: results/faults.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.bench.record import RESULTS, write_result
from tests.conftest import REPO

FAULTS, STORE = "tests/integration/test_faults.py", "tests/contract/test_store_faults.py"
LOCKS, S3 = "tests/contract/test_store_locks.py", "tests/unit/test_s3_training.py"
TABLE = {
    "kill -9 of trainer, worker or Redis": f"{FAULTS}::test_kill_9_of_trainer_worker_or_redis_at_random_moments",
    "kill -9 of MinIO": f"{STORE}::test_kill_9_at_random_moments_loses_no_acknowledged_checkpoint",
    "kill -9 of MinIO under a whole training": f"{S3}::test_a_training_whose_server_is_killed_again_and_again"
    "_leaves_what_an_undisturbed_one_leaves",
    "network cut from Redis": f"{FAULTS}::test_network_cut_between_worker_and_redis",
    "network cut from MinIO": f"{STORE}::test_a_cut_network_is_waited_for_and_said",
    "full disk": f"{STORE}::test_a_full_disk_keeps_what_was_there",
    "out of memory in a worker": f"{FAULTS}::test_a_worker_that_runs_out_of_memory_is_named_and_the_others_go_on",
    "clock jump": f"{FAULTS}::test_clocks_that_jump_by_hours_and_back",
    "clock of another time than the server's": f"{STORE}::test_a_clock_that_is_wrong",
    "two trainers on one prefix": f"{S3}::test_two_trainings_of_one_run",
    "two trainers, one of them suspended": f"{LOCKS}::test_a_suspended_one_writes_nothing_after_it_was_followed",
    "two trainers of one run": f"{FAULTS}::test_a_second_trainer_of_one_run_is_refused_with_the_firsts_name",
    "two runs at one Redis": f"{FAULTS}::test_workers_serve_two_trainings_at_once_and_both_get_their_own_numbers",
    "what a dead trainer left": f"{FAULTS}::test_what_a_dead_trainer_left_is_swept_out_and_what_others_have_stays",
    "corrupt and oversized rollouts": f"{FAULTS}::test_broken_and_oversized_messages_are_refused",
    "wrong Redis password": f"{FAULTS}::test_a_wrong_password_is_said_at_once_without_the_password",
    "wrong S3 credentials": f"{STORE}::test_wrong_credentials",
    "bucket missing": f"{STORE}::test_a_bucket_that_is_missing",
}


def outcomes(nodes: list[str], environment: dict[str, str]) -> dict[str, tuple[str, float]]:
    """Test's name -> passed, failed or skipped, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "", f"--junitxml={report}", *nodes]
        subprocess.run(command, cwd=REPO, env={**os.environ, **environment}, check=False)
        found = {}
        for case in ElementTree.parse(report).iter("testcase"):
            kinds = {child.tag for child in case}
            said = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            found[case.get("name", "")] = said, round(float(case.get("time", "0")), 1)
    return found


def earlier() -> list[dict[str, Any]]:
    """Rows of the last result, which those that are run now take the place of."""
    path = RESULTS / "faults.json"
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--cut-s", type=int, default=30)
    parser.add_argument("--only", default="", help="rows with this word")
    options = parser.parse_args()
    table = {fault: node for fault, node in TABLE.items() if options.only in fault}
    environment = {"FAULT_ROUNDS": str(options.rounds), "FAULT_CUT_S": str(options.cut_s)}
    found = outcomes(list(table.values()), environment)
    rows = {row["fault"]: row for row in earlier() if row["fault"] in TABLE}
    for fault, node in table.items():
        tests = {name: it for name, it in found.items() if name.partition("[")[0] == node.partition("::")[2]}
        results = {name: {"result": r, "seconds": s} for name, (r, s) in tests.items()}
        rows[fault] = {"fault": fault, "rounds": options.rounds, "cut_s": options.cut_s, "tests": results}
        print(f"{fault:42s} {', '.join(f'{r} in {s:g} s' for r, s in tests.values()) or 'not run'}")
    write_result(
        "faults",
        {"rows": [rows[fault] for fault in TABLE if fault in rows]},
        "pytest, one after the other; each test compares with an undisturbed training or with what was acknowledged",
    )


if __name__ == "__main__":
    main()
