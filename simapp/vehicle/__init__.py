"""The car: how it answers commands, on four wheels that slide, for many cars at once."""

from simapp.vehicle.drive import Makes, drive_cars, place_cars

__all__ = ["Makes", "drive_cars", "place_cars"]
