"""The built-in simulator's camera."""

from simapp.camera.camera import Camera

__all__ = ["Camera"]
