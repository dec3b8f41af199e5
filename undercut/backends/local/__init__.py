"""Training and evaluation on this machine."""
