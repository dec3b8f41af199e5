"""The files of one log, read one by one; what is missing or damaged is told, in words."""

from collections.abc import Sequence

from contract.errors import InputError, StoreError
from undercut.analysis.unpacked import Readable


class LogFiles:
    """Files of a place by their keys; `problems` grow on the way."""

    def __init__(self, place: Readable, keys: Sequence[str]) -> None:
        self._place, self.keys = place, keys
        self.problems: list[str] = []

    def text(self, key: str) -> str | None:
        """A file's text; bytes that are no UTF-8 become marks that no number has."""
        try:
            return self._place.get(key).decode("utf-8-sig", errors="replace")
        except KeyError:
            return None
        except StoreError as error:
            self.problems.append(str(error).splitlines()[0])
            return None

    def first(self, *endings: str) -> tuple[str, str] | None:
        """Key and text of the first file with one of these names."""
        for ending in endings:
            for key in self.keys:
                if key == ending or key.endswith(f"/{ending}"):
                    text = self.text(key)
                    if text is not None:
                        return key, text
        return None

    def where(self, key: str = "") -> str:
        """Where a file, or the whole place, is, for a person."""
        return self._place.where(key)

    def tell(self, problems: Sequence[InputError], then: str) -> None:
        """The first problem of a file and how many more there are."""
        if problems:
            more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
            self.problems.append(f"{_line(problems[0])}{more}: {then}")


def _line(error: InputError) -> str:
    shown = repr(error.value)
    return f"{error.where}: {shown if len(shown) <= 60 else shown[:57] + '...'} is not {error.rule}"
