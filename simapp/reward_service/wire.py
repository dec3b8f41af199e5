"""Requests for rewards and their answers: one JSON object a line. docs/rewards.md describes them for racers."""

import json
import math
import reprlib
from collections.abc import Sequence
from typing import Any

from contract.errors import RewardError
from simapp.reward import MAX_REWARD

Params = dict[str, Any]

_RULE = f"an answer is one line with the request's id and one reward a car, each a finite number within ±{MAX_REWARD:g}"
_SHOWN = 300


def waypoints_of(params: Sequence[Params]) -> list[Any]:
    """All cars of a request drive on one track."""
    found = params[0].get("waypoints", [])
    return found if isinstance(found, list) else list(found)


def request_line(number: int, cars: Sequence[int], params: Sequence[Params], waypoints: list[Any] | None) -> bytes:
    """`waypoints` stand once in the request, not in every car's params; None leaves them out."""
    told: dict[str, Any] = {"id": number}
    if waypoints is not None:
        told["waypoints"] = waypoints
    told["cars"] = list(cars)
    told["params"] = [{key: value for key, value in one.items() if key != "waypoints"} for one in params]
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def rewards_of(line: bytes, number: int, cars: Sequence[int], params: Sequence[Params], source: str) -> list[float]:
    """The rewards of an answer to request `number`; RewardError shows the line of one that breaks a rule."""

    def refuse(problem: str, fix: str, car: int | None = None) -> RewardError:
        shown = line.decode(errors="replace").rstrip("\n")
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(line)} bytes)"
        told = "" if car is None else f"\n{show_params(params[car])}"
        return RewardError(f"{source}: {problem}\n  line: {shown}\n  rule: {_RULE}\n  fix:  {fix}{told}")

    def no_constant(name: str) -> None:
        raise refuse(f"{name} is no JSON and no reward", "look for a division by almost zero")

    try:
        answer = json.loads(line, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise refuse("this is no JSON", "print answers only to standard output, all else to standard error") from None
    if not isinstance(answer, dict):
        raise refuse("this is no JSON object", 'answer with {"id": ..., "rewards": [...]}')
    if "error" in answer:
        raise refuse(f"the program says: {answer['error']}", "correct the program", 0 if len(cars) == 1 else None)
    if answer.get("id") != number:
        raise refuse(f"this answers {answer.get('id')!r}, not request {number}", "give the request's id back")
    rewards = answer.get("rewards")
    if not isinstance(rewards, list) or len(rewards) != len(cars):
        count = f"{len(rewards)} rewards" if isinstance(rewards, list) else "no list of rewards"
        raise refuse(f"{count} for {len(cars)} cars", "answer one reward a car, in the request's order")
    return [_checked(value, place, refuse) for place, value in enumerate(rewards)]


def _checked(value: object, place: int, refuse: Any) -> float:
    result = math.nan
    if isinstance(value, int | float):
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
    if not -MAX_REWARD <= result <= MAX_REWARD:
        raise refuse(f"reward {place} is {reprlib.repr(value)}", "every way through must end in a plain number", place)
    return result


def show_params(params: Params) -> str:
    """One car's params for a message, long lists shortened."""
    return "\n".join(["params:", *(f"  {key}: {reprlib.repr(value)}" for key, value in params.items())])
