"""Channels between trainer and workers: in one process, over a Unix socket, over Redis."""
