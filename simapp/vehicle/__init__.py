"""The car: how it answers commands, with or without tyre slip, for many cars at once."""

from simapp.vehicle.drive import drive_cars, place_cars

__all__ = ["drive_cars", "place_cars"]
