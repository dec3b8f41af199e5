"""Where a run is trained: this machine, Docker Compose, AWS."""
