"""What the agents share: networks, checkpoints, exported policies, the replay buffer."""
