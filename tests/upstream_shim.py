"""A pytest plugin that lets rl_coach's own tests run as the trainer runs rl_coach: under the import shim."""

from trainer.coach import shim

shim.install()
