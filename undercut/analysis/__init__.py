"""Logs of runs, read and measured."""
