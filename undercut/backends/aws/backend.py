"""Training in AWS."""

from pathlib import Path

from undercut.backends.aws import jobs, launchers, launching
from undercut.backends.aws.settings import CloudSettings
from undercut.backends.backend import BackendName, Say, TrainOptions
from undercut.runs.workspace import RUNS_PREFIX


class CloudBackend:
    """`Backend` of jobs in AWS, by the settings of cloud.yaml and the environment."""

    name = BackendName.cloud

    def __init__(self, say: Say) -> None:
        self._say = say

    def prepare(self, run: str) -> bool:
        return False

    def train(self, run: str, options: TrainOptions) -> int:
        settings = CloudSettings.load({"workers": options.workers or None})
        launching.run(settings, "train", [run], [], self._say)
        return 0

    def stop(self, run: str) -> bool:
        if not any(run in (record.job, *record.plan.runs) for record in jobs.records()):
            return False
        record, _, starter = launchers.opened(run)
        ended = starter.state(record).ended
        starter.stop(record)
        return not ended

    def fetch(self, run: str) -> Path:
        launching.pull(jobs.record_of(run))
        return Path(RUNS_PREFIX) / run
