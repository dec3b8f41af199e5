from __future__ import annotations
from dataclasses import dataclass
from typing import Any

@dataclass
class Car:
    x: float
    y: float
    speed: float
    progress: float

    @classmethod
    def of(cls, params: dict[str, Any]) -> Car:
        return cls(**{k: params[k] for k in cls.__annotations__})

memory: list[Car] = []

def reward_function(params: dict[str, Any]) -> float:
    car = Car.of(params)
    gained = car.progress - memory[-1].progress if memory else 0.0
    memory.append(car)
    del memory[:-1]
    if not params["all_wheels_on_track"]:
        return 1e-3
    return max(1e-3, 0.5 + gained * car.speed)
