"""What can be said of a reward function without running it: units that do not match, tests that never hold, names."""

import ast
import contextlib
import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from contract.fields import suggestion
from contract.metadata import ContinuousActions, ModelMetadata
from contract.vehicle import MAX_SPEED_MPS, MIN_SPEED_MPS
from simapp.tracks import Track
from undercut.check.finding import CheckFinding

DEGREES, RADIANS = "degrees", "radians"
IN_DEGREES = ("heading", "steering_angle")
TO_RADIANS = {"atan2", "arctan2", "atan", "arctan", "asin", "arcsin", "acos", "arccos", "radians", "deg2rad"}
TO_DEGREES = {"degrees", "rad2deg"}
TRIGONOMETRY = {"sin", "cos", "tan"}
SAME = {"abs", "fabs", "absolute", "float", "int", "round", "min", "max"}
WRAPS = ("180", "360", "pi", "cos(", "sin(", "%", "remainder", "fmod", "unwrap")
"""What a file has that takes care of angles which jump from 180 to -180."""
LINE_POINTS = 20
"""A literal list of so many points is taken for a racing line."""
OFF_LINE_M = 1.0

_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MIRRORED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt,
    ast.LtE: ast.GtE,
    ast.Gt: ast.Lt,
    ast.GtE: ast.LtE,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is known of an expression: its unit if it is an angle, which param it is, and whether without its sign."""

    unit: str | None = None
    key: str | None = None
    is_absolute: bool = False


NOTHING = Quantity()


def check_source(
    source: str,
    path: str,
    known: Iterable[str],
    metadata: ModelMetadata | None,
    track: Track | None,
    objects_heading_in: str = RADIANS,
) -> list[CheckFinding]:
    """The findings, in the order of lines. `known` are the params that there are, and `objects_heading_in` is the
    run's setting of that name."""
    units = dict.fromkeys(IN_DEGREES, DEGREES) | {"objects_heading": objects_heading_in}
    reader = _SourceReader(source, path, tuple(known), metadata, units)
    tree = ast.parse(source)
    with contextlib.suppress(RecursionError):  # an expression nested by the hundreds: what was found until there
        reader.visit(tree)
    if reader.differs_at is not None and not any(word in source for word in WRAPS):
        reader.say(
            "note",
            reader.differs_at,
            "a difference of two directions jumps by 360 degrees where one of them passes 180",
            "wrap it: (difference + 180) % 360 - 180",
        )
    if track is not None:
        for line, points in _lines(tree):
            away = np.abs(track.project(points[:, 0].copy(), points[:, 1].copy()).offset_m)
            if float(np.median(away)) > OFF_LINE_M:
                text = (
                    f"the {len(points)} points from here on lie {np.median(away):.1f} m beside the road of {track.name}"
                )
                reader.say("warn", line, text, "train on the track that they were made for: --track NAME")
    return [found for _, found in sorted(reader.found.items(), key=lambda item: item[0][0])]


def _lines(tree: ast.Module) -> list[tuple[int, np.ndarray]]:
    """(line, (K, 2) x and y) of every literal list of points."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple) and len(node.elts) >= LINE_POINTS:
            try:
                rows = ast.literal_eval(node)
                points = np.array([row[:2] for row in rows], dtype=np.float64)
            except (ValueError, TypeError, LookupError, OverflowError):
                continue
            if points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all():
                found.append((node.lineno, points))
    return found


class _SourceReader(ast.NodeVisitor):
    """Follows params through assignments, statement by statement."""

    def __init__(
        self,
        source: str,
        path: str,
        known: tuple[str, ...],
        metadata: ModelMetadata | None,
        units: Mapping[str, str],
    ) -> None:
        self.found: dict[tuple[int, str], CheckFinding] = {}
        self.differs_at: int | None = None
        self._source, self._path, self._known, self._units = source, path, known, units
        self._ranges, self._values = _ranges(metadata)
        tree = ast.parse(source)
        self._params = {"params"} | {
            node.args.args[0].arg
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == "reward_function" and node.args.args
        }
        self._stored = {
            node.slice.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Subscript)
            if isinstance(node.ctx, ast.Store) and isinstance(node.slice, ast.Constant)
        }
        self._constants = _constants(tree)
        self._names: dict[str, Quantity] = {}

    def say(self, level: str, line: int, text: str, fix: str) -> None:
        assert level in ("note", "warn", "fail")
        self.found[line, text] = CheckFinding(level, f"{self._path}, line {line}", text, fix)  # type: ignore[arg-type]

    # --- statements

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._names = self._names, dict(self._names)
        self.generic_visit(node)
        self._names = outer

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for name, value in zip(target.elts, node.value.elts, strict=False):
                    self._bind(name, value)
            else:
                self._bind(target, node.value)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        quantity = self._of(value)
        if isinstance(target, ast.Name):
            self._names[target.id] = quantity

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._of(node.value)
        if isinstance(node.target, ast.Name):
            was = self._names.get(node.target.id, NOTHING)
            keeps = isinstance(node.op, ast.Add | ast.Sub)
            self._names[node.target.id] = Quantity(was.unit if keeps else None)

    # --- expressions

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.expr):
            self._of(node)
        else:
            super().visit(node)

    def _of(self, node: ast.expr) -> Quantity:
        """What the expression is; says what is wrong within."""
        match node:
            case ast.Name():
                return self._names.get(node.id, NOTHING)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.UnaryOp():
                inner = self._of(node.operand)
                return replace(inner, key=None) if isinstance(node.op, ast.USub) else inner
            case ast.IfExp():
                self._of(node.test)
                self._of(node.orelse)
                return self._of(node.body)
            case ast.Compare():
                self._compare(node)
            case _:
                for child in ast.iter_child_nodes(node):
                    self.visit(child)
        return NOTHING

    def _subscript(self, node: ast.Subscript) -> Quantity:
        of_params = isinstance(node.value, ast.Name) and node.value.id in self._params
        if of_params and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return self._param(node.slice.value, node.lineno, isinstance(node.ctx, ast.Load))
        inner = self._of(node.value)
        self.visit(node.slice)
        return Quantity(inner.unit) if inner.key == "objects_heading" else NOTHING

    def _param(self, key: str, line: int, must_be_there: bool) -> Quantity:
        if must_be_there and key not in self._known and key not in self._stored:
            fix = suggestion(key, self._known, f"the params are {', '.join(sorted(self._known))}")
            self.say("fail", line, f"there is no param {key!r}: the function fails when it gets here", fix)
        return Quantity(self._units.get(key), key)

    def _call(self, node: ast.Call) -> Quantity:
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        is_get = name == "get" and isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)
        if is_get and called.value.id in self._params and node.args:  # type: ignore[attr-defined]
            key = node.args[0]
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                if key.value not in self._known and key.value not in self._stored:
                    fix = suggestion(key.value, self._known, "take it out")
                    self.say("warn", node.lineno, f"there is no param {key.value!r}: get() gives its default", fix)
                return self._param(key.value, node.lineno, False)
        inner = [self._of(argument) for argument in node.args]
        for keyword in node.keywords:
            self._of(keyword.value)
        self.visit(called)
        first = inner[0] if inner else NOTHING
        shown = ast.unparse(node)
        if name in TRIGONOMETRY and first.unit == DEGREES:
            fix = f"write {ast.unparse(called)}(math.radians({ast.unparse(node.args[0])}))"
            self.say("warn", node.lineno, f"{shown}: {name} takes radians, and this is in degrees", fix)
        if name in ("radians", "deg2rad") and first.unit == RADIANS:
            self.say("warn", node.lineno, f"{shown}: it is in radians already", "leave the conversion out")
        if name in TO_DEGREES and first.unit == DEGREES:
            self.say("warn", node.lineno, f"{shown}: it is in degrees already", "leave the conversion out")
        if name in TO_RADIANS:
            return Quantity(RADIANS)
        if name in TO_DEGREES:
            return Quantity(DEGREES)
        if name in SAME:
            takes_sign = name in ("abs", "fabs", "absolute")
            kept = first.key if takes_sign or name == "float" else None
            return Quantity(first.unit, kept, takes_sign or first.is_absolute)
        return NOTHING

    def _arithmetic(self, node: ast.BinOp) -> Quantity:
        left, right = self._of(node.left), self._of(node.right)
        if not isinstance(node.op, ast.Add | ast.Sub):
            return NOTHING if not isinstance(node.op, ast.Mod) else Quantity(left.unit)
        self._same_unit(node, left, right)
        if left.unit and right.unit and isinstance(node.op, ast.Sub) and self.differs_at is None:
            self.differs_at = node.lineno
        return Quantity(left.unit or right.unit)

    def _same_unit(self, node: ast.expr, left: Quantity, right: Quantity) -> None:
        if left.unit and right.unit and left.unit != right.unit:
            text = f"{ast.unparse(node)}: the left side is in {left.unit}, the right one in {right.unit}"
            self.say("warn", node.lineno, text, "convert the one in radians: math.degrees(...)")

    def _compare(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        known = [self._of(side) for side in sides]
        for k, op in enumerate(node.ops):
            left, right = known[k], known[k + 1]
            self._same_unit(node, left, right)
            low, high = _number(sides[k], self._constants), _number(sides[k + 1], self._constants)
            if high is not None and low is None:
                self._judge(node, left, type(op), high)
            elif low is not None and high is None:
                self._judge(node, right, _MIRRORED.get(type(op), type(op)), low)

    def _judge(self, node: ast.Compare, quantity: Quantity, op: type[ast.cmpop], value: float) -> None:
        """A param, or an angle, against a number."""
        key, line, shown = quantity.key, node.lineno, ast.unparse(node)
        size = abs(value)
        if key is None:
            if quantity.unit == RADIANS and size > 2.0 * math.pi + 0.01:
                self.say("warn", line, f"{shown}: the angle is in radians", "convert it with math.degrees")
            return
        if key == "steering_angle" and 0.0 < size <= 0.53:
            text, fix = (
                f"{shown}: steering_angle is in degrees",
                f"write {math.degrees(value):.0f} for {value:g} radians",
            )
            self.say("warn", line, text, fix)
            return
        if key == "heading" and 0.0 < size <= math.pi + 0.01 and value != int(value):
            text, fix = f"{shown}: heading is in degrees", f"write {math.degrees(value):.0f} for {value:g} radians"
            self.say("warn", line, text, fix)
            return
        if key == "progress" and 0.0 < value <= 1.0:
            self.say(
                "warn", line, f"{shown}: progress goes from 0 to 100", f"write {100 * value:g}, if a share is meant"
            )
            return
        if key == "steps" and value == 0 and op is ast.Eq:
            self.say("warn", line, f"{shown}: the first call of an episode has steps 1", "write 1")
            return
        if key not in self._ranges:
            return
        low, high, scope = self._ranges[key]
        if quantity.is_absolute:
            low, high = (0.0 if low <= 0.0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
        if op is ast.Eq and key in self._values:
            values = np.abs(self._values[key]) if quantity.is_absolute else self._values[key]
            if not np.isclose(values, value).any():
                self.say("warn", line, f"{shown} is never true: {scope}", "compare with one of them, or with a range")
        elif op in _COMPARE:
            holds = [_COMPARE[op](end, value) for end in (low, high)]
            if not any(holds):
                self.say("warn", line, f"{shown} is never true: {scope}", "change the number or the actions")
            elif all(holds) and key != "steps":
                self.say("note", line, f"{shown} is always true: {scope}", "change the number or the actions")


def _ranges(metadata: ModelMetadata | None) -> tuple[dict[str, tuple[float, float, str]], dict[str, np.ndarray]]:
    """Param -> lowest, highest and how to say it; param -> all of its values, where there are only some."""
    speed, steering, whose = (MIN_SPEED_MPS, MAX_SPEED_MPS), (-30.0, 30.0), "cars have"
    values: dict[str, np.ndarray] = {}
    if metadata is not None:
        whose, actions = "the actions have", metadata.actions
        if isinstance(actions, ContinuousActions):
            speed, steering = actions.speed_mps, actions.steering_deg
        else:
            values = {"speed": actions.speed_mps, "steering_angle": actions.steering_deg}
            speed, steering = ((float(it.min()), float(it.max())) for it in values.values())
    return {
        "speed": (*speed, f"{whose} speeds from {speed[0]:g} to {speed[1]:g} m/s"),
        "steering_angle": (*steering, f"{whose} angles from {steering[0]:g} to {steering[1]:g} degrees"),
        "heading": (-180.0, 180.0, "headings are from -180 to 180 degrees"),
        "progress": (0.0, 100.0, "progress goes from 0 to 100"),
        "steps": (1.0, math.inf, "the first call of an episode has steps 1"),
    }, values


def _constants(tree: ast.Module) -> dict[str, float]:
    """Names that are given a number, and nothing else, once."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        given.setdefault(name.id, []).append(node.value)
        elif isinstance(node, ast.AugAssign | ast.For | ast.AnnAssign) and isinstance(node.target, ast.Name):
            given.setdefault(node.target.id, []).extend([node.target, node.target])
        elif isinstance(node, ast.arg):
            given.setdefault(node.arg, []).extend([ast.Name(node.arg)] * 2)
    found: dict[str, float] = {}
    for given_name, values in given.items():
        if len(values) == 1 and (value := _number(values[0], found)) is not None:
            found[given_name] = value
    return found


def _number(node: ast.expr, constants: dict[str, float]) -> float | None:
    """The number that an expression of constants is."""
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as value):
            return float(value) if abs(value) < sys.float_info.max else None
        case ast.Name(id=name):
            return constants.get(name)
        case ast.Attribute(attr="pi"):
            return math.pi
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _number(operand, constants)
            return None if inner is None else -inner
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _ARITHMETIC:
            one, other = _number(left, constants), _number(right, constants)
            if one is None or other is None or (isinstance(op, ast.Div) and other == 0.0):
                return None
            return _ARITHMETIC[type(op)](one, other)
    return None
