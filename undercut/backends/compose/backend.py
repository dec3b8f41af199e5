"""Training in the stack's containers."""

from pathlib import Path

from undercut.backends.backend import BackendName, Say, TrainOptions
from undercut.backends.compose import training
from undercut.backends.compose.engine import Stack, use_store


class ComposeBackend:
    """`Backend` of the Docker Compose stack. From `prepare` on runs of this process live in the stack's store."""

    name = BackendName.compose

    def __init__(self, stack: Stack, say: Say) -> None:
        self.stack, self._say = stack, say

    def prepare(self, run: str) -> bool:
        self._say("starting the stack; the first time this builds its images, which takes some minutes")
        self.stack.up()
        use_store(self.stack)
        if training.is_training(self.stack, run):
            return True
        training.bring(run, self._say)
        return False

    def train(self, run: str, options: TrainOptions) -> int:
        more = ["--video-every", str(options.video_every)] if options.video_every else []
        return training.train(self.stack, run, max(options.workers, 1), self._say, more)

    def stop(self, run: str) -> bool:
        if not training.is_training(self.stack, run):
            return False
        self.stack.run("stop", "trainer")
        return True

    def fetch(self, run: str) -> Path:
        return training.pull(run)
