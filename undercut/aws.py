"""The cloud from Python: `undercut.aws.estimator` is a run as an Estimator of SageMaker's SDK. The rest is the command
line, `undercut cloud` (docs/cloud.md)."""

from undercut.backends.aws.estimator import estimator

__all__ = ["estimator"]
