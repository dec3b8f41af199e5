"""A long iteration with the deepest network fits in a laptop's memory."""

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]

ITERATION = """
import json, re
from pathlib import Path
import numpy as np
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.rollout import Rollout
from contract.state import STEP_DTYPE, EpisodeStatus
from trainer.coach import make_agent

raw = json.load(open("actions/default.json")) | {"neural_network": "DEEP_CONVOLUTIONAL_NETWORK_DEEP"}
rng = np.random.default_rng(0)

def episode(number, length=500):
    steps = np.zeros(length, STEP_DTYPE)
    steps["reward"] = rng.random(length)
    steps["status"] = EpisodeStatus.in_progress
    steps["status"][-1] = EpisodeStatus.off_track
    seen = rng.integers(0, 256, (length + 1, 120, 160, 1), np.uint8)
    camera = "FRONT_FACING_CAMERA"
    return Rollout(number, 0, {camera: seen[:-1]}, {camera: seen[-1]}, rng.integers(0, 5, length), steps, False)

hyperparameters = Hyperparameters.parse('{"num_epochs": 3}', "test")
agent = make_agent(ModelMetadata.parse(json.dumps(raw)), hyperparameters, 0)
report = agent.train([episode(number) for number in range(20)], 0)
assert report.minibatches == 3 * 157, report.minibatches
# not getrusage: a process begins with its parent's maximum there, and the parent is a test session
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_steps_of_the_deep_network_stay_under_6_gib() -> None:
    done = subprocess.run([sys.executable, "-c", ITERATION], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 6.0
