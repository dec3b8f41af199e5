"""Numbers to debug a training by, one row an iteration: diagnostics.csv, and event files for TensorBoard."""

import csv
import io
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract import artifacts
from contract.errors import InputError
from contract.fields import text_of
from contract.protocols import ObjectStore
from contract.rollout import Rollout
from contract.runtime import quiet_import
from contract.state import FloatArray


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many of some values fell into each of B bins: counts (B,), edges (B + 1,) ascending."""

    counts: FloatArray
    edges: FloatArray


def event_file(
    step: int, wall_time_s: float, scalars: Mapping[str, float], histograms: Mapping[str, Histogram]
) -> bytes:
    """A whole event file that says one thing: the scalars and histograms, by tag, of one step.

    The same arguments give the same bytes. TensorBoard reads the files of a folder one after the other.
    """
    tf = quiet_import("tensorflow")
    v1 = tf.compat.v1
    summary = v1.Summary()
    for tag, value in scalars.items():
        summary.value.add(tag=tag, simple_value=value)
    for tag, histogram in histograms.items():
        middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2.0
        histo = v1.HistogramProto(
            min=histogram.edges[0],
            max=histogram.edges[-1],
            num=histogram.counts.sum(),
            sum=(histogram.counts * middles).sum(),
            sum_squares=(histogram.counts * middles**2).sum(),
            # a first, empty bin, since the format's first one reaches down to minus infinity
            bucket_limit=histogram.edges,
            bucket=[0.0, *histogram.counts],
        )
        summary.value.add(tag=tag, histo=histo)
    events = [
        v1.Event(wall_time=wall_time_s, file_version="brain.Event:2"),
        v1.Event(wall_time=wall_time_s, step=step, summary=summary),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for event in events:
                writer.write(event.SerializeToString(deterministic=True))
        return path.read_bytes()


BINS = 30
"""Of the histograms of continuous steering and speed."""

_PANELS = {
    "episodes": ("steps", "reward", "completion_pct", "evaluation_completion_pct"),
    "losses": ("policy_loss", "value_loss"),
    "driving": ("mean_speed_mps", "mean_steering_deg", "speed_deviation_mps", "steering_deviation_deg"),
}
"""TensorBoard's sections; what is in none of them is an "update"."""


class Diagnostics:
    """The diagnostics of one run in its store. `actions` is the number of discrete actions, 0 of continuous ones."""

    def __init__(self, store: ObjectStore, actions: int) -> None:
        self._store, self._actions = store, actions
        self._columns: list[str] = []
        self._lines = ""  # of the table, as text: it is written anew every iteration

    def resume(self, iteration: int) -> None:
        """Go on before this iteration: later rows and event files, of work that was lost, are dropped."""
        self._set([row for row in _filled_in(_text(self._store)) if int(row["iteration"]) < iteration])
        for key in list(self._store.list(artifacts.TENSORBOARD_PREFIX)):
            number = artifacts.parse_event_file(key)
            if number is not None and number >= iteration:
                self._store.delete(key)

    def add(self, values: Mapping[str, float], training: Sequence[Rollout], simulated_s: float) -> None:
        """Write the row of an iteration: `values`, its "iteration" among them, and how its training episodes drove.

        TensorBoard's clock shows simulated seconds, so that equal runs leave equal files.
        """
        row = {**values, **driving(training, self._actions)}
        cells = {name: _cell(value) for name, value in row.items()}
        if row.keys() <= set(self._columns):
            self._lines += _table(self._columns, [cells])
        else:
            self._set([*_filled_in(_table(self._columns) + self._lines), cells])
        self._store.put(artifacts.DIAGNOSTICS, (_table(self._columns) + self._lines).encode())
        number = int(row.pop("iteration"))
        scalars = {f"{_panel(name)}/{name}": value for name, value in row.items()}
        events = event_file(number, simulated_s, scalars, histograms(training, self._actions))
        self._store.put(artifacts.event_file(number), events)

    def _set(self, rows: Sequence[Mapping[str, str]]) -> None:
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        self._lines = _table(self._columns, rows)


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, str]] | None = None) -> str:
    """CSV: these rows, or the line with the columns' names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if rows is None:
        writer.writeheader()
    else:
        writer.writerows(rows)
    return text.getvalue()


def _filled_in(text: str) -> list[dict[str, str]]:
    """Rows of the CSV without their empty cells."""
    return [{name: cell for name, cell in row.items() if cell} for row in _rows(text)]


def read_diagnostics(store: ObjectStore) -> dict[str, FloatArray]:
    """Columns of diagnostics.csv, (I,) each, NaN where an iteration has no such number; none in a fresh run.
    InputError when the file is damaged."""
    rows = _rows(_text(store))
    return {name: np.array([float(row[name] or math.nan) for row in rows]) for name in (rows[0] if rows else ())}


def _text(store: ObjectStore) -> str:
    key = artifacts.DIAGNOSTICS
    return text_of(store.get(key), key) if store.exists(key) else ""


def _rows(text: str) -> list[dict[str, str]]:
    """Cells of the CSV, all of them numbers or empty; InputError when it is damaged."""
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
        for row in rows:
            int(row["iteration"])
            [float(cell) for cell in row.values() if cell != ""]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        rule = "a table of numbers, with a value for each name of its first line, among them iteration"
        raise InputError(artifacts.DIAGNOSTICS, str(error), rule, "restore the file from a copy of the run") from None
    return rows


def driving(training: Sequence[Rollout], actions: int) -> dict[str, float]:
    """Commanded speed and steering over all steps; a_0, a_1, ...: the share of steps that took each discrete action."""
    steering_deg, speed_mps = _commands(training)
    row = {
        "mean_speed_mps": float(speed_mps.mean()),
        "mean_steering_deg": float(steering_deg.mean()),
        "speed_deviation_mps": float(speed_mps.std()),
        "steering_deviation_deg": float(steering_deg.std()),
    }
    if actions:
        counts = _counts(training, actions)
        row |= {f"a_{action}": share for action, share in enumerate((counts / counts.sum()).tolist())}
    return row


def histograms(training: Sequence[Rollout], actions: int) -> dict[str, Histogram]:
    """Of discrete action indices, or of continuous steering and speed."""
    if actions:
        return {
            "actions/taken": Histogram(
                _counts(training, actions).astype(np.float64), np.arange(actions + 1, dtype=np.float64) - 0.5
            )
        }
    found = {}
    for name, values in zip(("steering_deg", "speed_mps"), _commands(training), strict=True):
        counts, edges = np.histogram(values, BINS)
        found[f"actions/{name}"] = Histogram(counts.astype(np.float64), edges.astype(np.float64))
    return found


def _counts(training: Sequence[Rollout], actions: int) -> NDArray[np.int64]:
    return np.bincount(np.concatenate([rollout.actions for rollout in training]).astype(np.int64), minlength=actions)


def _commands(training: Sequence[Rollout]) -> tuple[FloatArray, FloatArray]:
    steps = np.concatenate([rollout.steps for rollout in training])
    return np.degrees(steps["steering_rad"]), np.asarray(steps["speed_mps"], dtype=np.float64)


def _cell(value: float) -> str:
    """All digits of a number, and none of what NumPy writes around its own."""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _panel(name: str) -> str:
    if name.startswith("a_"):
        return "actions"
    return next((panel for panel, names in _PANELS.items() if name in names), "update")
