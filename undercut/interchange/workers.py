"""The training of several workers, as deepracer-for-cloud keeps it, as the files of one."""

from dataclasses import dataclass, field, replace

from contract.metrics import TrainingRow
from contract.simtrace import Trace, read_csv
from undercut.analysis.joining import by_iteration
from undercut.analysis.log import Episode
from undercut.analysis.workers import training_of


@dataclass(slots=True)
class WorkersFiles:
    """Metrics rows by worker, and simtraces by worker and iteration."""

    rows: dict[int, list[TrainingRow]] = field(default_factory=dict)
    texts: dict[int, dict[int, str]] = field(default_factory=dict)

    def add(self, worker: int, iteration: int, text: str) -> None:
        """A simtrace."""
        self.texts.setdefault(worker, {})[iteration] = text

    @property
    def workers(self) -> set[int]:
        """All of which there is something."""
        return {*self.rows, *self.texts}

    def together(self) -> list[TrainingRow]:
        """The rows as one worker would have written them; times are those of each worker's own clock. An evaluation
        stands behind the iteration that it follows."""
        if len(self.workers) < 2:
            return next(iter(self.rows.values()), [])
        placed = self._placed()
        by_number: dict[int, list[tuple[int, TrainingRow]]] = {}
        for worker, rows in self.rows.items():
            for row in rows:
                if row.phase == "training" and (episode := placed.get((worker, row.episode - 1))):
                    by_number.setdefault(episode.iteration, []).append((episode.number, row))
        evaluated = [found for rows in [self.rows.get(0, [])] for found in by_iteration(rows)[1]]
        found: list[TrainingRow] = []
        for iteration, its in sorted(by_number.items()):
            its.sort(key=lambda it: it[0])
            found += [replace(row, episode=number + 1, trial=trial) for trial, (number, row) in enumerate(its, 1)]
            after = found[-1]
            checks = evaluated[iteration] if iteration < len(evaluated) else []
            found += [replace(row, episode=after.episode, trial=after.trial) for row in checks]
        return found

    def files(self) -> dict[int, str]:
        """A simtrace for each iteration, with the episodes of all workers."""
        placed = self._placed()
        found: dict[int, list[tuple[int, int, str]]] = {}
        headers: dict[int, str] = {}
        for worker, texts in self.texts.items():
            for iteration, text in texts.items():
                header, *lines = text.splitlines() or [""]
                if headers.setdefault(iteration, header) != header:
                    continue
                column = header.split(",").index("episode") if "episode" in header.split(",") else 0
                for place, line in enumerate(lines):
                    cells = line.split(",")
                    own = cells[column] if column < len(cells) else ""
                    episode = placed.get((worker, int(own))) if own.isdigit() and len(own) < 10 else None
                    if episode is not None:
                        cells[column] = str(episode.number)
                        found.setdefault(iteration, []).append((episode.number, place, ",".join(cells)))
        return {
            iteration: "\n".join([headers[iteration], *(line for _, _, line in sorted(lines))]) + "\n"
            for iteration, lines in found.items()
        }

    def _placed(self) -> dict[tuple[int, int], Episode]:
        """(worker, its own number) -> the episode, counted together."""
        traces: dict[int, dict[int, list[Trace]]] = {
            worker: {iteration: read_csv(text, "simtrace")[0] for iteration, text in texts.items()}
            for worker, texts in self.texts.items()
        }
        return {(it.worker or 0, it.own_number): it for it in training_of(self.rows, traces)}
