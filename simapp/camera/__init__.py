"""The built-in simulator's camera."""

from simapp.camera.camera import Camera, warm_up

__all__ = ["Camera", "warm_up"]
