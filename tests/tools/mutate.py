"""Mutation testing: changes one place of a module at a time and tells which changes no test notices.

    .venv/bin/python tests/tools/mutate.py                      all of TARGETS
    .venv/bin/python tests/tools/mutate.py contract/wire.py     one module
    .venv/bin/python tests/tools/mutate.py --every 3            each third change
    .venv/bin/python tests/tools/mutate.py contract/wire.py --only 17

The list of changes is the same each time: comparisons, and/or, not, + and -, * and /, numbers by one, True and False,
statements and errors left out. Each is compiled in memory and tested in a forked process; no file is written. What
survives is printed, with a line number; docs/testing.md says why what is left is left.
"""

import argparse
import ast
import copy
import importlib
import importlib.machinery
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
HEAVY = ("numpy", "numba", "pydantic", "yaml", "hypothesis", "hypothesis.extra.numpy", "pytest", "shapely", "scipy")
"""Imported once, before the forks; nothing of ours may be among them or below them."""
FUZZ = "tests/fuzz/test_fuzz_"
TARGETS: dict[str, list[str]] = {
    "simapp/race.py": ["tests/unit/test_race.py", "tests/unit/test_race_objects.py", "tests/unit/test_head_to_head.py"],
    "contract/wire.py": ["tests/contract/test_wire.py", "tests/contract/test_wire_messages.py", f"{FUZZ}wire.py"],
    "contract/rollout.py": ["tests/contract/test_wire.py", "tests/unit/test_metrics.py"],
    "contract/state.py": [
        "tests/contract/test_wire.py",
        "tests/contract/test_wire_messages.py",
        "tests/unit/test_recording.py",
        "tests/unit/test_metrics.py",
    ],
    "contract/recording.py": ["tests/unit/test_recording.py", f"{FUZZ}logs.py"],
    "contract/simtrace.py": ["tests/unit/test_simtrace.py"],
    "contract/metrics.py": ["tests/unit/test_metrics.py"],
    "contract/salvage.py": ["tests/unit/test_salvage.py"],
    "contract/fields.py": ["tests/unit/test_fields.py", "tests/unit/test_metadata.py", f"{FUZZ}settings.py"],
    "contract/hyperparameters.py": ["tests/unit/test_hyperparameters.py"],
    "contract/metadata.py": ["tests/unit/test_metadata.py"],
    "contract/yamlfile.py": ["tests/unit/test_params_yaml.py", f"{FUZZ}settings.py"],
    "contract/params.py": [
        *(f"tests/unit/test_params_{part}.py" for part in ("yaml", "worlds", "carried")),
        "tests/unit/test_races_yaml.py",
    ],
    "undercut/races/params.py": ["tests/unit/test_races_yaml.py"],
    "undercut/interchange/drfc.py": ["tests/unit/test_drfc.py", f"{FUZZ}settings.py"],
    "contract/config.py": ["tests/unit/test_config.py", "tests/unit/test_worlds.py"],
    "contract/pythonfile.py": ["tests/unit/test_reward.py", f"{FUZZ}code.py"],
    "contract/artifacts.py": ["tests/unit/test_artifacts.py"],
}
"""Module -> the tests that are to notice, quick ones first."""

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
}
Change = tuple[ast.AST, str, Any]
"""A node, the field of it that changes, and the new value; in words by _said."""


def changes(tree: ast.Module) -> list[tuple[Change, str]]:
    """Every change with its place and words, in the order of lines."""
    found: list[tuple[Change, str]] = []
    for node, parent in _walk(tree):
        for field, value in _changes_of(node, parent):
            line = getattr(node, "lineno", getattr(parent, "lineno", 0))
            found.append(((node, field, value), f"{line}: {_said(node, field, value)}"))
    return sorted(found, key=lambda one: int(one[1].split(":")[0]))


def _walk(node: ast.AST, parent: ast.AST | None = None) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    """Nodes that run: no annotations, docstrings, words of messages, decorators, or descriptions of fields."""
    yield node, parent
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            yield from _walk(child, node)


def _changes_of(node: ast.AST, parent: ast.AST | None) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = [*node.ops[:place], _COMPARISONS[type(operator)](), *node.ops[place + 1 :]]
            yield "ops", other
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        yield "op", _OPERATORS[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        yield "op", ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield "op", ast.UAdd() if isinstance(node.op, ast.USub) else None
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield "value", not node.value
        elif isinstance(node.value, int | float):
            yield "value", node.value + 1
    elif isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare):
        yield "test", ast.UnaryOp(ast.Not(), node.test)
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list) and not isinstance(node, ast.Module | ast.ClassDef):
            for place, statement in enumerate(block):
                if isinstance(statement, ast.Raise | ast.AugAssign | ast.Continue | ast.Break) or (
                    isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
                ):
                    yield name, [*block[:place], ast.Pass(), *block[place + 1 :]]


def _said(node: ast.AST, field: str, value: Any) -> str:
    if field in ("body", "orelse", "finalbody"):
        block = getattr(node, field)
        gone = next(old for old, new in zip(block, value, strict=True) if isinstance(new, ast.Pass) and old is not new)
        return f"without `{ast.unparse(gone)[:90]}`"
    changed = copy.copy(node)
    if value is None:
        changed = node.operand  # type: ignore[attr-defined]
    else:
        setattr(changed, field, value)
    head = ast.unparse(node).splitlines()[0][:70]
    return f"`{head}` -> `{ast.unparse(changed).splitlines()[0][:70]}`"


def changed_code(source: str, path: Path, number: int) -> Any:
    """Compiled, with change `number` of the list."""
    tree = ast.parse(source)
    node, field, value = changes(tree)[number][0]
    if value is None:  # `not x` becomes x

        class Without(ast.NodeTransformer):
            def visit_UnaryOp(self, found: ast.UnaryOp) -> ast.AST:
                self.generic_visit(found)
                return found.operand if found is node else found

        tree = Without().visit(tree)
    else:
        setattr(node, field, value)
    return compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True)


class NoticedIsEnough:
    """A plugin for pytest, after conftest.py: what hypothesis finds is not made smaller, which can take a minute."""

    def pytest_configure(self) -> None:
        hypothesis = importlib.import_module("hypothesis")
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile(
            "noticed", hypothesis.settings(), phases=phases, report_multiple_bugs=False
        )
        hypothesis.settings.load_profile("noticed")


def survives(module: Path, number: int, tests: list[str]) -> bool:
    """Whether the tests pass with the change, in a forked process that may take TIMEOUT_S."""
    child = os.fork()
    if child == 0:
        signal.alarm(TIMEOUT_S)
        source, load = module.read_text(), importlib.machinery.SourceFileLoader.get_code

        def get_code(self: Any, fullname: str) -> Any:
            mine = Path(self.get_filename(fullname)).resolve() == module
            return changed_code(source, module, number) if mine else load(self, fullname)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
        said = io.StringIO()
        failed: int = 1
        try:
            with redirect_stdout(said), redirect_stderr(said):
                pytest = importlib.import_module("pytest")
                options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:rerunfailures"]
                failed = int(pytest.main([*options, "--timeout", "0", *tests], plugins=[NoticedIsEnough()]))
        finally:
            os._exit(failed)
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("modules", nargs="*", help="modules of TARGETS; all by default")
    asked.add_argument("--every", type=int, default=1, help="try each so manieth change")
    asked.add_argument("--only", type=int, help="try this change alone")
    told = asked.parse_args()
    os.chdir(REPO)
    sys.path.insert(0, str(REPO))
    for name in HEAVY:
        importlib.import_module(name)
    assert not {"contract", "simapp"} & set(sys.modules), "the changed module must be imported in the forks"
    for name in told.modules or TARGETS:
        module, begun_s = REPO / name, time.monotonic()
        listed = changes(ast.parse(module.read_text()))
        tried = range(0, len(listed), told.every) if told.only is None else [told.only]
        survived = []
        for number in tried:
            if survives(module, number, TARGETS[name]):
                survived.append(number)
                print(f"  {name}:{listed[number][1]}  [{number}]", flush=True)
        killed = len(tried) - len(survived)
        share = 100.0 * killed / max(len(tried), 1)
        spent_s = time.monotonic() - begun_s
        print(f"{name}: {killed} of {len(tried)} noticed ({share:.0f} %), {spent_s:.0f} s", flush=True)


if __name__ == "__main__":
    main()
