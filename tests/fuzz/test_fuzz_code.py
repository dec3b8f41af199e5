"""Racers' Python: a reward function or a preset loads and answers, or fails with the file, and nothing else happens."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import InputError, RewardError
from simapp.reward import RewardFunction
from tests.fuzzing import damaged_bytes, damaged_text, examples, value_or_error
from trainer.coach.preset import load_preset

REPO = Path(__file__).resolve().parents[2]
REWARD = '''import math

SEEN = []


class Line:
    def __init__(self, width):
        self.width = width

    def share(self, off):
        return max(1.0 - off / (0.5 * self.width), 1e-3)


def reward_function(params):
    """Near the centre line."""
    line = Line(params["track_width"])
    SEEN.append(params["steps"])
    if not params["all_wheels_on_track"]:
        return 1e-3
    return float(line.share(params["distance_from_center"]) ** 2 + math.sqrt(params["speed"]))
'''
PRESET = (REPO / "actions/presets/deeper.py").read_text()
PARAMS = {"track_width": 0.8, "steps": 3.0, "all_wheels_on_track": True, "distance_from_center": 0.1, "speed": 2.0}
"""Damaged text may be any program: the examples have nothing that reads, writes, waits or ends the process."""
CODINGS = [
    "ascii",
    "latin-1",
    "rot13",
    "hex",
    "utf-16",
    "idna",
    "undefined",
    "punycode",
    "unicode_escape",
    "nope",
    "zlib",
]


def _called(path: Path) -> float:
    return RewardFunction.load(path).instance()(dict(PARAMS))


@examples(60)
@given(
    damaged_text(REWARD).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | damaged_bytes(REWARD.encode())
    | st.sampled_from(CODINGS).map(lambda name: f"# coding: {name}\n{REWARD}".encode())
)
def test_reward_files(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "reward_function.py"
    path.write_bytes(content)
    value = value_or_error(lambda: _called(path), "reward_function.py", errors=(InputError, RewardError))
    assert value is None or -1e5 <= value <= 1e5


@pytest.mark.parametrize(
    "body",
    [
        *("return 10 ** 5000", "raise KeyError", "raise KeyError(())", "raise Odd", "raise Odd()", "return Odd()"),
        *(
            "return [10 ** 5000]",
            "params['x'] = 10 ** 5000; return None",
            "params.clear(); return 'x'",
            "return params",
        ),
        *("return reward_function(params)", "raise SystemExit(3)", "raise StopIteration", "raise GeneratorExit"),
        *("import numpy; return numpy.array([1.0])", "import numpy; return numpy.float32(2)", "yield 1.0"),
        *("return float('nan')", "return 1e5 + 1", "return complex(1)", "assert False, '\\ud800'", "return b'1'"),
        "params['x'] = Odd(); return None",
    ],
)
def test_rewards_that_are_none(tmp_path: Path, body: str) -> None:
    """Odd cannot be shown, compared or turned into text."""
    odd = (
        "class Odd(Exception):\n    def __repr__(self): raise ValueError\n    __str__ = __float__ = __eq__ = __repr__\n"
    )
    path = tmp_path / "reward_function.py"
    path.write_text(f"{odd}\ndef reward_function(params):\n    {body}\n")
    value_or_error(lambda: _called(path), "reward_function.py", errors=(InputError, RewardError))


@pytest.mark.parametrize(
    "text", ["raise KeyError", "raise GeneratorExit", "class Odd(Exception):\n  def __str__(s): 1/0\nraise Odd"]
)
def test_files_that_fail_to_load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "reward_function.py"
    path.write_text(text + "\n")
    assert value_or_error(lambda: _called(path), "reward_function.py") is None


@examples(40)
@given(
    damaged_text(PRESET).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | damaged_bytes(PRESET.encode())
    | st.sampled_from(["(" * 5_000, "-" * 100_000 + "1", "x\0"]).map(str.encode)
)
def test_presets(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "preset.py"
    path.write_bytes(content)
    value_or_error(lambda: load_preset(path), "preset.py")
