"""Deep Q-learning, by racers' presets."""
