"""TensorBoard event files, written by TensorFlow itself."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
        told = v1.HistogramProto(
            min=histogram.edges[0],
            max=histogram.edges[-1],
            num=histogram.counts.sum(),
            sum=(histogram.counts * middles).sum(),
            sum_squares=(histogram.counts * middles**2).sum(),
            # a first, empty bin, since the format's first one reaches down to minus infinity
            bucket_limit=histogram.edges,
            bucket=[0.0, *histogram.counts],
        )
        summary.value.add(tag=tag, histo=told)
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
