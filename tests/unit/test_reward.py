"""The racer's reward file: loading, isolation, and what a racer reads when it goes wrong."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import InputError, RewardError
from simapp.reward import RewardFunction

Call = Callable[[dict[str, Any]], float]
PARAMS: dict[str, Any] = {
    "speed": 1.5,
    "steps": 3.0,
    "waypoints": [(float(i), 0.5) for i in range(119)],
    "closest_waypoints": [3, 4],
}


def write(folder: Path, source: str, name: str = "reward_function.py") -> Path:
    file = folder / name
    file.write_text(source)
    return file


def load(folder: Path, source: str) -> Call:
    return RewardFunction.load(write(folder, source)).instance()


def refused(file: Path, name: str = "reward_function") -> InputError:
    with pytest.raises(InputError) as caught:
        RewardFunction.load(file, name)
    return caught.value


def failed(reward: Call, params: dict[str, Any] | None = None) -> str:
    with pytest.raises(RewardError) as caught:
        reward(dict(PARAMS) if params is None else params)
    return str(caught.value)


def test_each_instance_has_its_own_globals_for_the_whole_run(tmp_path: Path) -> None:
    source = "calls = []\ndef reward_function(params):\n    calls.append(1)\n    return len(calls)\n"
    function = RewardFunction.load(write(tmp_path, source))
    one, two = function.instance(), function.instance()
    assert [one(PARAMS), one(PARAMS), two(PARAMS), one(PARAMS)] == [1.0, 2.0, 1.0, 3.0]
    assert function.source == source


def test_helper_modules_beside_the_file_are_the_instances_own(tmp_path: Path) -> None:
    write(tmp_path, "import inner\ncalls = []\n", "racer_helper.py")
    write(tmp_path, "", "inner.py")
    source = (
        "from racer_helper import calls\nimport racer_helper, inner\nassert racer_helper.inner is inner\n"
        "def reward_function(params):\n    calls.append(1)\n    return len(racer_helper.calls)\n"
    )
    path_before, modules_before = list(sys.path), set(sys.modules)
    function = RewardFunction.load(write(tmp_path, source))
    one, two = function.instance(), function.instance()
    assert [one(PARAMS), one(PARAMS), two(PARAMS)] == [1.0, 2.0, 1.0]
    assert sys.path == path_before
    assert set(sys.modules) == modules_before


def test_a_racers_folder_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No __pycache__; and a module edited at once to the same length is the new one."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    reward = write(tmp_path, "from racer_helper import VALUE\ndef reward_function(params):\n    return VALUE\n")
    for value in (1.0, 2.0):
        helper = write(tmp_path, f"VALUE = {value}\n", "racer_helper.py")
        os.utime(helper, (1e9, 1e9))
        assert RewardFunction.load(reward).instance()({}) == value
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({reward.name, helper.name})
    assert not sys.dont_write_bytecode


def test_helpers_of_the_same_name_in_two_folders_do_not_mix(tmp_path: Path) -> None:
    rewards = []
    for value in (1, 2):
        folder = tmp_path / str(value)
        folder.mkdir()
        write(folder, f"VALUE = {value}\n", "racer_settings.py")
        rewards.append(load(folder, "import racer_settings as s\ndef reward_function(params):\n    return s.VALUE\n"))
    assert [reward(PARAMS) for reward in rewards] == [1.0, 2.0]


def test_files_are_loaded_side_by_side_as_one_after_the_other(tmp_path: Path) -> None:
    """As trials of a sweep are: a file's helper is the one beside it, and the process stays as it was."""
    files = []
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "helper.py").write_text(f"import time\ntime.sleep(0.002)\nVALUE = {number}.0\n")
        (folder / "reward.py").write_text("import helper\ndef reward_function(params):\n    return helper.VALUE\n")
        files.append(folder / "reward.py")
    path = list(sys.path)
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda file: RewardFunction.load(file).instance()({}), files * 4))
    assert said == [float(number) for number in range(8)] * 4
    assert sys.path == path and "helper" not in sys.modules


def test_helper_named_like_a_loaded_module_is_the_racers_and_the_other_stays(tmp_path: Path) -> None:
    import contract

    write(tmp_path, "VALUE = 7\n", "contract.py")
    reward = load(tmp_path, "import contract\ndef reward_function(params):\n    return contract.VALUE\n")
    assert reward(PARAMS) == 7.0
    assert sys.modules["contract"] is contract
    assert "contract.errors" in sys.modules


def test_libraries_in_an_environment_beside_the_file_are_loaded_once(tmp_path: Path) -> None:
    library = tmp_path / ".venv" / "lib" / "site-packages"
    library.mkdir(parents=True)
    write(library, "STATE = []\n", "a_racing_library.py")
    source = (
        f"import sys\nsys.path.append({str(library)!r})\nimport a_racing_library as lib\nlib.STATE.append(1)\n"
        "def reward_function(params):\n    return len(lib.STATE)\n"
    )
    try:
        assert load(tmp_path, source)(PARAMS) == 2.0  # the check at loading, and the instance
    finally:
        sys.modules.pop("a_racing_library", None)
        while str(library) in sys.path:
            sys.path.remove(str(library))


def test_dataclasses_and_the_usual_imports_work(tmp_path: Path) -> None:
    reward = load(
        tmp_path,
        "from __future__ import annotations\nimport math, random\nfrom dataclasses import dataclass\n"
        "import numpy as np\nfrom shapely.geometry import Point\n"
        "@dataclass\nclass State:\n    last: float = 0.0\nstate = State()\n"
        "class Score:\n    def __call__(self, params):\n"
        "        return np.float32(state.last + Point(3, 4).distance(Point(0, 0)))\n"
        "reward_function = Score()\n",
    )
    assert reward(PARAMS) == 5.0
    assert type(reward(PARAMS)) is float


def test_syntax_error_names_file_line_and_column(tmp_path: Path) -> None:
    file = write(tmp_path, "def reward_function(params):\n    if params['speed'] > 1\n        return 1\n")
    error = refused(file)
    assert error.where == f"{file}, line 2, column 27"
    assert "expected ':'" in error.rule
    assert "if params['speed'] > 1" in str(error)


def test_syntax_error_in_a_helper_names_the_helper(tmp_path: Path) -> None:
    helper = write(tmp_path, "x = = 1\n", "racer_broken.py")
    error = refused(write(tmp_path, "import racer_broken\ndef reward_function(params): return 1\n"))
    assert error.where.startswith(f"{helper}, line 1")
    assert "valid Python" in error.rule


@pytest.mark.parametrize(
    ("source", "line", "text", "fix"),
    [
        (
            "import math\nimport no_such_module_here\n",
            2,
            "no_such_module_here",
            "name no_such_module_here in a requirements.txt",
        ),
        ("from math import no_such_object\n", 1, "no_such_object", "math has nothing of this name"),
        ("x = 1\n\ny = x / 0\n", 3, "ZeroDivisionError: division by zero", "correct this line"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3", "correct this line"),
    ],
)
def test_failing_import_names_the_line(tmp_path: Path, source: str, line: int, text: str, fix: str) -> None:
    file = write(tmp_path, source + "def reward_function(params):\n    return 1.0\n")
    path_before = list(sys.path)
    error = refused(file)
    assert error.where == f"{file}, line {line}"
    assert text in str(error)
    assert fix in error.fix
    assert sys.path == path_before


@pytest.mark.parametrize(
    ("source", "place", "text", "fix"),
    [
        ("def reward_fuction(params):\n    return 1.0\n", ": reward_function", "(missing)", "rename 'reward_fuction'"),
        ("x = 1\n", ": reward_function", "(missing)", "add: def reward_function(params): ..."),
        ("reward_function = 1.0\n", ": reward_function", "1.0", "rename the variable"),
        ("\ndef reward_function():\n    return 1.0\n", ", line 2", "def reward_function()", "(params):"),
        ("def reward_function(a, b):\n    return 1.0\n", ", line 1", "reward_function(a, b)", "(params):"),
        ("def reward_function(*, a):\n    return 1.0\n", ", line 1", "reward_function(*, a)", "(params):"),
    ],
)
def test_function_that_is_missing_or_not_callable_with_params(
    tmp_path: Path, source: str, place: str, text: str, fix: str
) -> None:
    file = write(tmp_path, source)
    error = refused(file)
    assert error.where == f"{file}{place}"
    assert text in str(error)
    assert fix in error.fix


def test_function_of_another_name(tmp_path: Path) -> None:
    file = write(tmp_path, "def mine(params, scale=2.0):\n    return scale\n")
    assert RewardFunction.load(file, "mine").instance()(PARAMS) == 2.0


def test_file_that_is_absent_or_no_text(tmp_path: Path) -> None:
    assert "must exist" in refused(tmp_path / "none.py").rule
    assert "readable" in refused(tmp_path).rule
    assert refused(tmp_path).value == "Is a directory"
    latin = tmp_path / "latin.py"
    latin.write_bytes(b"# caf\xe9\n")
    assert "UTF-8" in refused(latin).rule
    assert "valid Python" in refused(write(tmp_path, "x = '\0'\n")).rule
    assert "valid Python" in refused(write(tmp_path, f"x = {'-' * 100_000}1\n")).rule


def test_exception_shows_file_line_params_and_the_racers_traceback_only(tmp_path: Path) -> None:
    helper = write(tmp_path, "def share(a, b):\n    return a / b\n", "racer_maths.py")
    file = write(
        tmp_path, "import racer_maths\n\ndef reward_function(params):\n    return racer_maths.share(1, params['x'])\n"
    )
    said = failed(RewardFunction.load(file).instance(), {**PARAMS, "x": 0})
    assert said.startswith(f"{helper}, line 2: ZeroDivisionError: division by zero\n  rule: ")
    assert f'File "{file}", line 4, in reward_function\n    return racer_maths.share(1' in said
    assert f'File "{helper}", line 2, in share\n    return a / b' in said
    assert "simapp" not in said
    assert "\n  speed: 1.5\n" in said
    assert "  waypoints: [(0.0, 0.5), (1.0, 0.5), (2.0, 0.5), (3.0, 0.5), ...]  (119 in all)" in said
    assert "(118.0, 0.5)" not in said


def test_source_lines_shown_are_those_that_ran(tmp_path: Path) -> None:
    file = write(tmp_path, "def reward_function(params):\n    return 1 / 0\n")
    reward = RewardFunction.load(file).instance()
    file.write_text("# edited while the run went on\n\n")
    assert "return 1 / 0" in failed(reward)


def test_library_frames_below_the_racers_line_do_not_hide_it(tmp_path: Path) -> None:
    reward = load(tmp_path, "import json\ndef reward_function(params):\n    return json.loads('{')\n")
    said = failed(reward)
    assert said.startswith(f"{tmp_path / 'reward_function.py'}, line 3: JSONDecodeError")
    assert "json/decoder.py" in said.replace("\\", "/")


def test_wrong_param_name_gets_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'speed'?" in failed(
        load(tmp_path, "def reward_function(params):\n    return params['sped']\n")
    )


def test_chained_and_exiting_failures(tmp_path: Path) -> None:
    chained = load(
        tmp_path,
        "def reward_function(params):\n    try:\n        return 1 / 0\n"
        "    except ZeroDivisionError as e:\n        raise ValueError('too slow') from e\n",
    )
    said = failed(chained)
    assert "line 5: ValueError: too slow" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "SystemExit: 1" in failed(load(tmp_path, "def reward_function(params):\n    raise SystemExit(1)\n"))
    late = load(tmp_path, "def reward_function(params):\n    import no_such_module_here\n")
    assert "import at the top of the file" in failed(late)


def test_interrupt_is_not_the_racers_failure(tmp_path: Path) -> None:
    reward = load(tmp_path, "def reward_function(params):\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        reward(PARAMS)


@pytest.mark.parametrize(
    ("expression", "shown", "fix"),
    [
        ("None", "returned None (NoneType)", "must end in a return"),
        ("'1.0'", "returned '1.0' (str)", "return a number"),
        ("[1.0]", "returned [1.0] (list)", "return a number"),
        ("1j", "returned 1j (complex)", "return a number"),
        ("float('nan')", "returned nan (float)", "division by almost zero"),
        ("float('inf')", "returned inf (float)", "division by almost zero"),
        ("-1.1e5", "returned -110000.0 (float)", "division by almost zero"),
        ("10**400", "(int)", "division by almost zero"),
        ("np.float32('nan')", "(float32)", "division by almost zero"),
        ("np.complex128(1)", "(complex128)", "return a number"),
        ("np.ones(1)", "(ndarray)", "return a number"),
        ("np.array('1')", "(ndarray)", "return a number"),
    ],
)
def test_values_that_are_no_reward(tmp_path: Path, expression: str, shown: str, fix: str) -> None:
    file = write(tmp_path, f"import numpy as np\n\ndef reward_function(params):\n    return {expression}\n")
    said = failed(RewardFunction.load(file).instance())
    assert said.startswith(f"{file}, line 3: reward_function returned ")
    assert shown in said
    assert "one finite number within -100000..100000" in said
    assert fix in said
    assert "\n  speed: 1.5\n" in said


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(-3), -3.0),
        (np.True_, 1.0),
        (np.array(2.5), 2.5),
        (Fraction(1, 4), 0.25),
        (1e5, 1e5),
        (-1e5, -1e5),
    ],
)
def test_numbers_of_every_kind_become_floats(tmp_path: Path, value: Any, expected: float) -> None:
    reward = load(tmp_path, "def reward_function(params):\n    return params['value']\n")
    result = reward({"value": value})
    assert (type(result), result) == (float, expected)


_echo: list[Call] = []


@given(st.none() | st.floats() | st.integers() | st.text(max_size=3) | st.complex_numbers() | st.lists(st.floats()))
@settings(max_examples=200, deadline=None)
def test_any_value_is_a_usable_float_or_a_reward_error(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    if not _echo:
        folder = tmp_path_factory.mktemp("echo")
        _echo.append(load(folder, "def reward_function(params):\n    return params['value']\n"))
    try:
        result = _echo[0]({"value": value})
    except RewardError:
        assert not isinstance(value, int | float) or not abs(value) <= 1e5
    else:
        assert result == value
        assert type(result) is float


def test_recursion_is_reported(tmp_path: Path) -> None:
    said = failed(load(tmp_path, "def reward_function(params):\n    return reward_function(params)\n"))
    assert "RecursionError" in said
    assert len(said) < 10_000
