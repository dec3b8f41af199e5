"""Races between runs, and a model in both simulators."""
