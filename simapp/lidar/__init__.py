"""The built-in simulator's lidar."""

from simapp.lidar.lidar import Lidar

__all__ = ["Lidar"]
