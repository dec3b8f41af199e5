"""The Docker Compose stack."""
