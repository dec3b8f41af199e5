"""Races between runs."""
