"""Runs in and out of other tools' layouts, stores and the car."""
