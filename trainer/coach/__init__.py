"""rl_coach 1.0.1 on today's Python and TensorFlow: how it is imported, and racers' presets for it."""
