"""Clipped PPO."""
