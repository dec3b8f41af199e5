"""Runs on rented machines of AWS."""
