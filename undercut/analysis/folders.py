"""Which files of a folder belong together: the logs of one model, or of several side by side."""

import re
from collections.abc import Sequence

from contract import artifacts
from undercut.analysis.unpacked import is_log

_METRICS = re.compile(r"(.*/)?[^/]*metrics[^/]*\.json|(.*/)?metrics/(.*/)?[^/]+\.json", re.IGNORECASE)
_LAYOUT = re.compile(
    r"iteration-data|sim-trace|(training|evaluation)-simtrace|training(-\d.*)?|evaluation(-\d.*)?|metrics|logs|model|ip|"
    r"\d+|train-output|tensorboard|inspect|report|custom_files"
)


def is_metrics(key: str) -> bool:
    """Whether a file's name says that it holds metrics."""
    return _METRICS.fullmatch(key) is not None


def _is_simulators(key: str) -> bool:
    """Whether a file's name says that it is a simulator's log, whose lines hold the steps."""
    name = key.rpartition("/")[2].lower()
    return is_log(key) and ("robomaker" in name or "simulation" in name)


def logs_in(keys: Sequence[str]) -> dict[str, list[str]]:
    """Folder of each log -> its keys. A metrics file that lies apart goes to the log whose name begins as its own:
    console-training_metrics.json to console-reinvent_base."""
    groups = [group_of(key) for key in keys]
    paired = list(zip(keys, groups, strict=True))
    traced = sorted({group for key, group in paired if artifacts.parse_any_simtrace(key) or _is_simulators(key)})
    telling = traced or sorted({group for key, group in paired if is_metrics(key)})
    telling = telling or sorted({group for key, group in paired if is_log(key)})
    if len(telling) <= 1:
        return {telling[0]: list(keys)} if telling else {}
    found: dict[str, list[str]] = {group: [] for group in telling}
    for key, group in zip(keys, groups, strict=True):
        owners = [group] if group in found else _namesakes(key, telling)
        for owner in owners[:1]:
            found[owner].append(key)
    return found


def group_of(key: str) -> str:
    """The folders before the first one that every layout has; of deepracer-for-cloud's own data/logs/robomaker/MODEL/
    the model's."""
    folders = key.split("/")[:-1]
    for place, folder in enumerate(folders):
        if folder == "logs" and folders[place + 1 : place + 2] == ["robomaker"]:
            return "/".join(folders[: place + 3])
        if _LAYOUT.fullmatch(folder):
            return "/".join(folders[:place])
    return "/".join(folders)


def _namesakes(key: str, groups: Sequence[str]) -> list[str]:
    name = key.rpartition("/")[2]
    first = re.split(r"[-_.]", name)[0].lower()
    return [group for group in groups if re.split(r"[-_.]", group.rpartition("/")[2])[0].lower() == first]
