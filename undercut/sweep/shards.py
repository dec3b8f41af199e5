"""Shards of a sweep: fixed shares of its trials, each with a journal of its own, for machines that know nothing of each
other."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from contract.errors import InputError

SWEEPS = Path("sweeps")
"""In the working directory, and below the runs' place in a bucket."""
JOURNAL = "journal.log"
MAX_SHARDS = 1_000
_FOLDER = re.compile(r"([1-9]\d*)-of-([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `index`, from 1, of `count`: it has every trial number, from 0, that leaves index - 1 when it is divided by
    count. So a sweep that gets more trials gives none of them to another shard."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str, where: str = "--shard") -> Self:
        """Of "2/4"; InputError names `where`."""
        found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
        index, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= index <= count <= MAX_SHARDS:
            rule = f"INDEX/COUNT, such as 2/4: the second of four; at most {MAX_SHARDS} of them"
            raise InputError(where, text, rule, "give 1/4, 2/4, 3/4 and 4/4 to four machines")
        return cls(index, count)

    @classmethod
    def of_folder(cls, name: str) -> Self | None:
        """Of a name that `folder` gives, else None."""
        found = _FOLDER.fullmatch(name)
        return cls(int(found[1]), int(found[2])) if found and int(found[1]) <= int(found[2]) else None

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """Where its journal lies, below the sweep's own folder."""
        return f"{self.index}-of-{self.count}"

    def number(self, own: int) -> int:
        """The sweep's number, from 0, of the shard's own trial `own`."""
        return self.index - 1 + own * self.count

    def run_name(self, sweep: str, own: int) -> str:
        """Of the shard's own trial `own`, in the sweep of that name."""
        return f"{sweep}-{self.number(own) + 1:04d}"

    def has(self, number: int) -> bool:
        """Whether the sweep's trial `number`, from 0, is one of its own."""
        return number % self.count == self.index - 1

    def share(self, trials: int) -> int:
        """How many of so many trials are its own."""
        return len(range(self.index - 1, trials, self.count))


WHOLE = Shard(1, 1)


def shards_of(count: int) -> list[Shard]:
    """All of so many."""
    return [Shard(index, count) for index in range(1, count + 1)]


def kept(name: str) -> list[Shard]:
    """The shards of a sweep that have a journal in the working directory, in their order."""
    found = (Shard.of_folder(path.parent.name) for path in (SWEEPS / name).glob(f"*/{JOURNAL}"))
    return sorted((it for it in found if it is not None), key=lambda it: (it.count, it.index))
