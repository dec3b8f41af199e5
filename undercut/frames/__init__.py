"""Frames of the real world: read from bags, folders and videos, and judged by a policy."""
