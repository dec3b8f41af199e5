"""Which files of a folder belong together: the logs of one model, or of several side by side."""

import re
from collections.abc import Sequence

from contract import artifacts

_METRICS = re.compile(r"(.*/)?[^/]*metrics[^/]*\.json|(.*/)?metrics/(.*/)?[^/]+\.json", re.IGNORECASE)
_LAYOUT = re.compile(
    r"iteration-data|sim-trace|(training|evaluation)-simtrace|training(-\d.*)?|evaluation(-\d.*)?|metrics|logs|model|ip|"
    r"\d+|train-output|tensorboard|inspect|report|custom_files"
)


def is_metrics(key: str) -> bool:
    """Whether a file's name says that it holds metrics."""
    return _METRICS.fullmatch(key) is not None


def logs_in(keys: Sequence[str]) -> dict[str, list[str]]:
    """Folder of each log -> its keys. A metrics file that lies apart goes to the log whose name begins as its own:
    console-training_metrics.json to console-reinvent_base."""
    groups = [_group(key) for key in keys]
    traced = sorted({group for key, group in zip(keys, groups, strict=True) if artifacts.parse_any_simtrace(key)})
    telling = traced or sorted({group for key, group in zip(keys, groups, strict=True) if is_metrics(key)})
    if len(telling) <= 1:
        return {telling[0]: list(keys)} if telling else {}
    found: dict[str, list[str]] = {group: [] for group in telling}
    for key, group in zip(keys, groups, strict=True):
        owners = [group] if group in found else _namesakes(key, telling)
        for owner in owners[:1]:
            found[owner].append(key)
    return found


def _group(key: str) -> str:
    """The folders before the first one that every layout has."""
    folders = key.split("/")[:-1]
    for place, folder in enumerate(folders):
        if _LAYOUT.fullmatch(folder):
            return "/".join(folders[:place])
    return "/".join(folders)


def _namesakes(key: str, groups: Sequence[str]) -> list[str]:
    name = key.rpartition("/")[2]
    first = re.split(r"[-_.]", name)[0].lower()
    return [group for group in groups if re.split(r"[-_.]", group.rpartition("/")[2])[0].lower() == first]
