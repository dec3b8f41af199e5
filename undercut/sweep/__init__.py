"""Many trainings over rewards, hyperparameters, action spaces and seeds: `undercut sweep`."""
