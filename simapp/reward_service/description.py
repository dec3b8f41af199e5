"""What a racer writes about a reward that is no Python file: reward.yaml or reward.json, or just an executable."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from contract.errors import InputError
from contract.fields import MISSING, check_keys, number, read_text
from contract.yamlfile import YamlEntry, read_entries

DEFAULT_TIMEOUT_S = 10.0
MAX_TIMEOUT_S = 600.0
MAX_FILES_BYTES = 50_000_000
"""All files of a program together; they travel to every worker."""

_KEYS = ("command", "files", "lambda", "region", "timeout_s")
_FUNCTION = re.compile(r"[A-Za-z0-9_:.-]{1,170}")
_EITHER = "a reward is a program (command) or an AWS Lambda function (lambda), one of the two"


@dataclass(frozen=True, slots=True)
class Description:
    """A program or a function.

    command    words; the first is a file of `files`, or a program on PATH. Empty for a Lambda function
    files      relative paths of what the program needs; they lie in the folder that it runs in
    function   name or ARN of a Lambda function, empty for a program; `region` None: boto3's own
    timeout_s  for an answer; the first one of a program has START_TIMES as long
    """

    command: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    function: str = ""
    region: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __str__(self) -> str:
        return f"Lambda function {self.function}" if self.function else " ".join(self.command)

    def to_json(self) -> str:
        """With keys in one order, so that equal rewards are equal files."""
        fields: dict[str, Any] = {"timeout_s": self.timeout_s}
        if self.function:
            fields |= {"lambda": self.function} | ({"region": self.region} if self.region else {})
        else:
            fields |= {"command": list(self.command), "files": list(self.files)}
        return json.dumps(fields, indent=2) + "\n"


def read_description(path: Path) -> Description:
    """Of a .yaml, .yml or .json file, or of an executable alone. InputError names file, line and fix."""
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        return _executable(path)
    entries = read_entries(read_text(path, "the description of the reward"), str(path))
    check_keys({key: entry.value for key, entry in entries.items()}, _KEYS, str(path))
    if ("command" in entries) == ("lambda" in entries):
        raise InputError(str(path), sorted(entries) or MISSING, _EITHER, "write command: [perl, reward.pl]")
    timeout = entries.get("timeout_s")
    timeout_s = (
        number(timeout.value, timeout.place, 0, MAX_TIMEOUT_S, "s", above=True) if timeout else DEFAULT_TIMEOUT_S
    )
    if "lambda" in entries:
        return _function(entries, timeout_s)
    if "region" in entries:
        raise entries["region"].refuse("region goes with lambda", "delete the line")
    return _program(path.resolve().parent, entries, timeout_s)


def contents(description: Description, folder: Path) -> dict[str, bytes]:
    """The program's files; InputError when together they are more than MAX_FILES_BYTES."""
    found = {name: (folder / name).read_bytes() for name in description.files}
    size = sum(map(len, found.values()))
    if size > MAX_FILES_BYTES:
        rule = f"the files of a reward have at most {MAX_FILES_BYTES:,} bytes, since they go to every worker"
        raise InputError(str(folder), f"{size:,} bytes", rule, "leave out of `files` what the program does not read")
    return found


def _executable(path: Path) -> Description:
    rule = "a reward is a Python file (.py), a description (.yaml, .json) or an executable program"
    if not path.is_file():
        raise InputError(str(path), MISSING, rule, "check the path; rewards/ holds files to begin with")
    if not os.access(path, os.X_OK):
        raise InputError(str(path), "not executable", rule, f"chmod +x {path}, or name it in a reward.yaml")
    return Description((f"./{path.name}",), (path.name,))


def _function(entries: dict[str, YamlEntry], timeout_s: float) -> Description:
    entry, region = entries["lambda"], entries.get("region")
    for key in ("command", "files"):
        if key in entries:
            raise entries[key].refuse(_EITHER, "delete the line")
    if not isinstance(entry.value, str) or not _FUNCTION.fullmatch(entry.value):
        raise entry.refuse("the name or ARN of a Lambda function", "write it as AWS shows it, for example my-reward")
    if region is not None and not (isinstance(region.value, str) and re.fullmatch(r"[a-z0-9-]{5,25}", region.value)):
        raise region.refuse("the name of a region", "write it like us-east-1")
    return Description(function=entry.value, region=str(region.value) if region else None, timeout_s=timeout_s)


def _program(folder: Path, entries: dict[str, YamlEntry], timeout_s: float) -> Description:
    command = _words(entries["command"])
    named = entries.get("files")
    files = _words(named) if named else [word for word in command if _is_beside(folder, word)]
    files = [PurePosixPath(word).as_posix() for word in files]
    for name in files:
        if not _is_beside(folder, name):
            rule = f"files are relative paths of files in {folder}, without '..'"
            raise (named or entries["command"]).refuse(f"{rule}; {name!r} is none", "correct the path")
    first = command[0]
    if not _is_beside(folder, first) and shutil.which(first) is None:
        rule = f"the first word is a file beside the description or a program on PATH; there is no {first!r}"
        raise entries["command"].refuse(rule, f"install {first}, or write the file's name")
    if _is_beside(folder, first):
        first = PurePosixPath(first).as_posix()
        if first not in files:
            raise entries["command"].refuse(f"files names {first!r} too", f"add {first} to files")
        command[0] = f"./{first}"
    return Description(tuple(command), tuple(dict.fromkeys(files)), timeout_s=timeout_s)


def _words(entry: YamlEntry) -> list[str]:
    value = entry.value
    given = [*value] if isinstance(value, list) else [value]
    words = [word for word in given if isinstance(word, str) and word and "\0" not in word]
    if not words or len(words) != len(given):
        raise entry.refuse("a list of words", f"write {entry.key}: [perl, reward.pl]")
    if not isinstance(entry.value, list) and " " in words[0]:
        raise entry.refuse(
            "a list of words; no shell splits them", f"write {entry.key}: [{', '.join(words[0].split())}]"
        )
    return words


def _is_beside(folder: Path, word: str) -> bool:
    path = PurePosixPath(word)
    return not path.is_absolute() and ".." not in path.parts and (folder / path).is_file()
