"""Rewards from outside of this process, asked for all cars of a step at once."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from contract import artifacts
from contract.errors import InputError, RewardError
from simapp.reward_service.description import Description, contents, read_description
from simapp.reward_service.process import Program, ProgramGoneError

if TYPE_CHECKING:
    from simapp.reward_service.aws_lambda import Function
import json
import math
import reprlib

from simapp.reward import MAX_REWARD, show_params

# --- Requests for rewards and their answers ---------------------------------------------------------------------------

Params = dict[str, Any]

_RULE = f"an answer is one line with the request's id and one reward a car, each a finite number within ±{MAX_REWARD:g}"
_SHOWN = 300


def waypoints_of(params: Sequence[Params]) -> list[Any]:
    """All cars of a request drive on one track."""
    found = params[0].get("waypoints", [])
    return found if isinstance(found, list) else list(found)


def request_line(number: int, cars: Sequence[int], params: Sequence[Params], waypoints: list[Any] | None) -> bytes:
    """`waypoints` stand once in the request, not in every car's params; None leaves them out."""
    request: dict[str, Any] = {"id": number}
    if waypoints is not None:
        request["waypoints"] = waypoints
    request["cars"] = list(cars)
    request["params"] = [{key: value for key, value in one.items() if key != "waypoints"} for one in params]
    return json.dumps(request, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def rewards_of(line: bytes, number: int, cars: Sequence[int], params: Sequence[Params], source: str) -> list[float]:
    """The rewards of an answer to request `number`; RewardError shows the line of one that breaks a rule."""

    def refuse(problem: str, fix: str, car: int | None = None) -> RewardError:
        shown = line.decode(errors="replace").rstrip("\n")
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(line)} bytes)"
        shown_params = "" if car is None else f"\n{show_params(params[car])}"
        return RewardError(f"{source}: {problem}\n  line: {shown}", _RULE, f"{fix}{shown_params}")

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


# --- Rewards from outside of this process, asked for all cars of a step at once ---------------------------------------

TRIES = 2
"""How often a request is asked of a program that dies under it or gives no answer."""
MAX_RESTARTS = 20
"""Of one program in one session."""
START_TIMES = 3
"""A program's first answer may take so many times its time-out: interpreters compile, machines are cold."""
MEASURED_AFTER, MEASURED = 20, 100
"""Requests that are not measured, and those that are."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class RewardService:
    """A program or function with the interface of RewardFunction. All its instances share one process."""

    path: Path
    description: Description
    content: Mapping[str, bytes]
    """The program's files, by their paths relative to its folder."""
    environment: Mapping[str, str] = field(default_factory=dict)
    _cars: int = 0
    _number: int = 0
    _restarts: int = 0
    _program: Program | None = None
    _function: "Function | None" = None
    _track: list[Any] | None = None
    _spent_s: list[float] = field(default_factory=list)
    _reference_s: float = 0.0
    _measured_cars: int = 0

    @classmethod
    def load(cls, path: Path, environment: Mapping[str, str] | None = None) -> "RewardService":
        """Of a description or an executable; InputError when it breaks a rule. Nothing is started yet."""
        description = read_description(path)
        return cls(path, description, contents(description, path.resolve().parent), environment or {})

    @property
    def source(self) -> str:
        """What can be searched for names of params."""
        return "\n".join(content.decode(errors="replace") for content in self.content.values())

    def files(self) -> dict[str, bytes]:
        """What a run keeps, by key: enough to make it again with `load`, and a stub where tools look for Python."""
        program_files = {artifacts.REWARD_FILES + name: content for name, content in self.content.items()}
        if artifacts.REWARD_DESCRIPTION in program_files and self.path.name != Path(artifacts.REWARD_DESCRIPTION).name:
            name = Path(artifacts.REWARD_DESCRIPTION).name
            raise InputError(str(self.path), name, "a run keeps the description by this name", "rename the file")
        stub = _STUB.format(what=str(self.description).replace("\\", "/").replace('"', "'"))
        return {
            **program_files,
            artifacts.REWARD_DESCRIPTION: self.description.to_json().encode(),
            artifacts.REWARD_FUNCTION: stub.encode(),
        }

    def instance(self) -> "ServiceReward":
        """One car's reward."""
        self._cars += 1
        return ServiceReward(self, self._cars - 1)

    def score(self, cars: Sequence[int], params: Sequence[Params]) -> list[float]:
        """The rewards of K cars in one request. RewardError when there are none to be had."""
        began_s = time.perf_counter()
        self._number += 1
        answer = self._ask_function if self.description.function else self._ask_program
        rewards = answer(cars, params)
        if len(self._spent_s) < MEASURED_AFTER + MEASURED:
            self._measure(time.perf_counter() - began_s, params)
        return rewards

    def close(self) -> None:
        """End the program; the next request starts it again."""
        for backend in (self._program, self._function):
            if backend is not None:
                backend.close()
        self._program = self._function = self._track = None

    def _ask_function(self, cars: Sequence[int], params: Sequence[Params]) -> list[float]:
        if self._function is None:
            from simapp.reward_service.aws_lambda import Function  # boto3 takes a while to import

            self._function = Function(self.description.function, self.description.region, self.description.timeout_s)
        line = request_line(self._number, cars, params, waypoints_of(params))
        return rewards_of(self._function.ask(line), self._number, cars, params, str(self.description))

    def _ask_program(self, cars: Sequence[int], params: Sequence[Params]) -> list[float]:
        waypoints, problem = waypoints_of(params), ""
        for number in range(TRIES):
            timeout_s = self.description.timeout_s * (1 if self._program else START_TIMES)
            if self._program is None:
                self._program, self._track = Program(self.description.command, self.content, self.environment), None
            news = None if waypoints == self._track else waypoints
            try:
                answer = self._program.ask(request_line(self._number, cars, params, news), timeout_s)
            except ProgramGoneError as error:
                problem = str(error)
                self._gone(problem, again=number + 1 < TRIES)
                continue
            self._track = waypoints
            try:
                return rewards_of(answer, self._number, cars, params, f"reward program {self.description}")
            except RewardError as error:
                output = self._program.said()
                self.close()
                raise RewardError(f"{error}{output}") from None
        raise RewardError(
            f"reward program {self.description} {problem}",
            f"it answers every request; this one was asked {TRIES} times",
            f"correct the program (does it flush its output after each line?), or raise timeout_s "
            f"({self.description.timeout_s:g} s)\n"
            f"{show_params(params[0])}",
        )

    def _gone(self, problem: str, again: bool) -> None:
        if self._program is not None:
            self._program.kill()
        self.close()
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise RewardError(
                f"reward program {self.description} {problem}",
                f"it may be started again {MAX_RESTARTS} times",
                "find out why it ends: its standard error is above",
            )
        if again:
            _LOG.warning("the reward program %s; it is started again, without what it remembered", problem)

    def _measure(self, spent_s: float, params: Sequence[Params]) -> None:
        """After some requests, say once what a step's rewards cost here and in this process."""
        self._spent_s.append(spent_s)
        if len(self._spent_s) <= MEASURED_AFTER:
            return
        began_s = time.perf_counter()
        for one in params:
            _reference(one)
        self._reference_s += time.perf_counter() - began_s
        self._measured_cars += len(params)
        if len(self._spent_s) == MEASURED_AFTER + MEASURED:
            _LOG.warning("%s", self.overhead())

    def overhead(self) -> str:
        """What a step's rewards cost: measured here, and by a Python function in this process on the same params."""
        mine_us = 1e6 * sum(self._spent_s[MEASURED_AFTER:]) / MEASURED
        python_us = 1e6 * self._reference_s / MEASURED
        cars = self._measured_cars / MEASURED
        return (
            f"rewards by {self.description} take {mine_us:,.0f} µs a step of {cars:.3g} cars; "
            f"a short Python function takes {python_us:,.1f} µs"
        )


class Scores(Protocol):
    """What rewards many cars at once."""

    def score(self, cars: Sequence[int], params: Sequence[Params]) -> list[float]:
        """The rewards of K cars."""


@dataclass(frozen=True, slots=True)
class ServiceReward:
    """One car of a service. Called like a racer's function it asks for one car; `score_all` asks for many at once."""

    service: Scores
    car: int

    def __call__(self, params: Params) -> float:
        return self.service.score([self.car], [params])[0]


def score_all(rewards: Sequence[Callable[[Params], float]], params: Sequence[Params]) -> list[float]:
    """One reward a car, in one request a service."""
    scored: list[float] = [0.0] * len(rewards)
    batches: dict[int, tuple[Scores, list[int]]] = {}
    for place, reward in enumerate(rewards):
        if isinstance(reward, ServiceReward):
            batches.setdefault(id(reward.service), (reward.service, []))[1].append(place)
        else:
            scored[place] = reward(params[place])
    for service, places in batches.values():
        cars = [reward.car for place in places if isinstance(reward := rewards[place], ServiceReward)]
        for place, value in zip(places, service.score(cars, [params[place] for place in places]), strict=True):
            scored[place] = value
    return scored


def _reference(params: Params) -> float:
    """What a short reward function does, to compare with."""
    distance, width = params["distance_from_center"], params["track_width"]
    for share, reward in ((0.10, 1.0), (0.25, 0.5), (0.50, 0.1)):
        if distance <= share * width:
            return reward
    return 1e-3


_STUB = '''"""The rewards of this run come from outside of Python: {what}

reward/reward.json says how they are asked for. This file stands where tools look for a reward function.
"""


def reward_function(params):
    raise NotImplementedError("the rewards of this run come from a program: see reward/reward.json")
'''
