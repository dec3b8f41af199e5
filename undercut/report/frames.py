"""The page of frames of the real world: what a policy would do, its doubt, and how far they are from training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from contract.metadata import ContinuousActions, DiscreteActions
from contract.state import FloatArray, IntArray
from undercut.analysis.findings import LogFinding
from undercut.analysis.places import command_label
from undercut.analysis.tables import Column, Table, number
from undercut.figures.inspection import action_labels, draw_bars, heat_over
from undercut.frames.covering import Cover
from undercut.frames.judging import FAR, UNSURE, Judged, taken
from undercut.report.canvas import EVALUATION, GRID, INK, MUTED, TRAINING, WRONG, Picture, picture, plain
from undercut.report.page import Section, escape, facts, figures, findings, page, pictures, table

SHOWN = 6
"""Frames of each kind."""
_ROWS = 200
_SAME = 0.98
"""Share of same actions above which the car's software and this toolkit do the same."""
_COVERED = 0.9
"""Share of the frames within training's, above which a range is wide enough."""
_OFTEN = 0.25
"""Share of far or unsure frames from which on it is a problem."""
_UNITS = {"light": "factor", "blur_px": "pixels", "noise": "grey levels"}
_SHOWS = {"light": "brightness", "blur_px": "blur", "noise": "noise"}


@dataclass(frozen=True, slots=True)
class Group:
    """Frames that are shown together: their places among all, and why."""

    anchor: str
    title: str
    why: str
    some: IntArray


def groups(judged: Judged) -> list[Group]:
    """Which frames are shown."""
    count = len(judged.frames)
    even = np.unique(np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int))
    found = [Group("even", "From begin to end", "Evenly spread over all frames.", even)]
    further = "The least like training's, by the policy's own embedding."
    found.append(Group("farthest", "Furthest from training", further, _most(judged.distance)))
    doubtful = "The policy's outputs are nearest to chance." if judged.is_discrete else "The widest deviation."
    found.append(Group("doubt", "Least sure", doubtful, _most(judged.doubt)))
    others = judged.compared & ~judged.agrees
    if others.any():
        apart = np.where(others, judged.apart, -1.0)
        some = _most(apart)
        why = "The car's own policy took another action here: its outputs are the black marks."
        found.append(Group("apart", "Where the car did otherwise", why, some[others[some]]))
    return found


def _most(values: FloatArray) -> IntArray:
    """Places of the greatest, no two of them neighbours, in their order in the source."""
    gap, found = max(1, len(values) // 60), list[int]()
    for k in np.argsort(-values, kind="stable").tolist():
        if all(abs(k - other) >= gap for other in found):
            found.append(k)
        if len(found) == SHOWN:
            break
    return np.array(sorted(found))


def frames_page(
    judged: Judged, shown: Sequence[Group], maps: dict[int, NDArray[np.float32]]
) -> tuple[str, list[Picture]]:
    """The whole page, as HTML that loads nothing, and its pictures; `maps` has the heat of each frame that is shown."""
    frames = judged.frames
    seconds = float(np.nanmax(frames.times_s)) if np.isfinite(frames.times_s).any() else None
    lead = facts(
        [
            ("run", f"{judged.training.run}, checkpoint {judged.training.checkpoint}"),
            (frames.kind, frames.name),
            *([("topic", frames.topic)] if frames.topic else []),
            ("frames", f"{len(frames):,}" + (f" in {seconds:.1f} s" if seconds else "")),
            ("training's", f"{len(judged.training.doubt):,} frames of {judged.training.episodes} episodes"),
        ]
    )
    lead += figures(_headline(judged)) + _notes(frames.notes)
    drawn: list[Picture] = []

    def kept(made: Sequence[Picture], large: bool = False) -> str:
        drawn.extend(made)
        return pictures(made, large)

    sections = [
        Section("findings", "Findings", findings(found(judged))),
        Section("looks", "How far from training", kept(_histograms(judged))),
        Section("ranges", "Ranges that would cover them", _ranges(judged.covers)),
        Section("actions", "What it would do", kept([_course(judged)], large=True) + _uses(judged)),
    ]
    for group in shown:
        made = [_frame(judged, f"{group.anchor}-{i}", k, maps[k]) for i, k in enumerate(group.some.tolist(), start=1)]
        sections.append(Section(group.anchor, group.title, f'<p class="note">{escape(group.why)}</p>' + kept(made)))
    sections.append(Section("all", "Frame by frame", _table(judged)))
    return page(f"{frames.name} seen by {judged.training.run}", lead, sections), drawn


def _notes(lines: Sequence[str]) -> str:
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _headline(judged: Judged) -> list[tuple[str, str, str]]:
    usual = judged.training
    items = [
        (_percent(judged.far.mean()), "far from training", f"further than {_percent(FAR)} of training's own frames"),
        (_percent(judged.unsure.mean()), "unsure", f"less sure than on {_percent(UNSURE)} of training's frames"),
    ]
    if usual.distance.size and np.median(usual.distance) > 0.0:
        ratio = float(np.median(judged.distance) / np.median(usual.distance))
        items.append((f"{ratio:.1f}×", "distance", "median, of what is usual among training's frames"))
    compared = judged.compared
    if compared.any():
        share = float(judged.agrees[compared].mean())
        items.append((_percent(share), "as the car did", f"the same action, of {int(compared.sum())} frames"))
        delay = judged.frames.delay_s[np.isfinite(judged.frames.delay_s)]
        if len(delay):
            items.append((f"{1000 * float(np.median(delay)):.0f} ms", "camera to result", "median, on the car"))
    return items


def found(judged: Judged) -> list[LogFinding]:
    """What is to be said, in sentences."""
    findings, compared = [], judged.compared
    if compared.any():
        share, apart = float(judged.agrees[compared].mean()), float(judged.apart[compared].max())
        text = (
            f"On {100 * share:.1f} % of {int(compared.sum())} frames this policy takes the action that the car's did; "
            f"outputs differ by up to {apart:.2g}"
        )
        if share < _SAME:
            text += ": the car had another model or checkpoint loaded, or its pictures are not those in the bag"
        rule = f"the same model takes the same action on at least {_percent(_SAME)} of the frames"
        findings.append(LogFinding(text, rule, "good" if share >= _SAME else "bad"))
    for cover in judged.covers:
        text = f"{_percent(cover.covered)} of the frames have a {_SHOWS[cover.field]} that training had"
        if cover.covered < _COVERED:
            low, high = cover.needed
            if cover.would_be > cover.covered:
                text += f"; they look like {cover.field} {low:.2f} to {high:.2f}"
                text += ", which is beyond what run.json allows" if cover.clipped else ""
            else:
                text += f", and no range of {cover.field} changes that"
        rule = f"{_percent(_COVERED)} within the middle 98 % of training's frames"
        findings.append(LogFinding(text, rule, "good" if cover.covered >= _COVERED else "bad"))
    far = float(judged.far.mean())
    text = f"{_percent(far)} of the frames are further from training's, in the policy's embedding, than those are"
    rule = f"beyond the distance of {_percent(FAR)} of training's frames to other episodes; 1 % would be usual"
    findings.append(LogFinding(text, rule, "bad" if far > _OFTEN else "good"))
    unsure = float(judged.unsure.mean())
    text = f"On {_percent(unsure)} of the frames the policy is less sure than it nearly always was in training"
    rule = f"doubt above that of {_percent(UNSURE)} of training's frames; 5 % would be usual"
    findings.append(LogFinding(text, rule, "bad" if unsure > _OFTEN else "good"))
    return findings


# --- pictures ---------------------------------------------------------------------------------------------------------


_HISTOGRAMS = (
    ("brightness", "Brightness", "mean grey level", "Of each frame; both add up to 1."),
    (
        *("softness", "Blur", "softness of edges"),
        "What more blur leaves of the steepest edges: half of sharp ones, more of soft ones.",
    ),
    ("noise", "Noise", "grey levels", "Standard deviation where the frame is even; fine textures count as well."),
    (
        *("distance", "Distance", "to the 5th nearest frame of training"),
        "Between what the policy's last layer sees, at length 1. Beyond the line a frame counts as far.",
    ),
    (
        *("doubt", "Doubt", "0: sure, 1: as good as chance"),
        "Entropy of the actions, or deviation of continuous ones. Beyond the line the policy counts as unsure.",
    ),
)
"""Name, title, axis and caption."""


def _histograms(judged: Judged) -> list[Picture]:
    usual = judged.training.looks.named() | {"distance": judged.training.distance, "doubt": judged.training.doubt}
    mine = judged.looks.named() | {"distance": judged.distance, "doubt": judged.doubt}
    limits = {"distance": judged.training.far_from, "doubt": judged.training.unsure_from}
    return [
        _histogram(name, title, axis, caption, usual[name], mine[name], limits.get(name))
        for name, title, axis, caption in _HISTOGRAMS
    ]


def _histogram(
    name: str, title: str, axis: str, caption: str, usual: FloatArray, mine: FloatArray, limit: float | None
) -> Picture:
    usual, mine = usual[np.isfinite(usual)], mine[np.isfinite(mine)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        both = np.concatenate([usual, mine])
        low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
        edges = np.linspace(low, max(high, low + 1e-3), 41)
        for values, colour, label in ((usual, TRAINING, "training"), (mine, EVALUATION, "these frames")):
            if len(values):
                weights = np.full(len(values), 1.0 / len(values))
                axes.hist(values, edges.tolist(), weights=weights, color=colour, alpha=0.55, label=label)
        if limit is not None:
            axes.axvline(limit, color=MUTED, linewidth=1.2, linestyle="--")
        plain(axes, "share of the frames", axis)
        axes.legend()

    return picture(f"frames-{name}", title, caption, draw)


def _course(judged: Judged) -> Picture:
    """Commands and doubt from frame to frame."""
    times = judged.frames.times_s
    timed = bool(np.isfinite(times).all()) and len(times) > 1
    x = times if timed else np.arange(len(times), dtype=np.float64)
    car = _commanded(judged)

    def draw(figure: Figure) -> None:
        steering, speed, doubt = figure.subplots(3, 1, sharex=True)
        for axes, mine, column in ((steering, judged.steering_deg, 0), (speed, judged.speed_mps, 1)):
            if car is not None:
                look: dict[str, Any] = {"color": INK, "linewidth": 2.6, "alpha": 0.3}
                axes.plot(x, car[column], drawstyle="steps-post", label="the car's own policy", **look)
            axes.plot(x, mine, color=TRAINING, linewidth=1.1, drawstyle="steps-post", label=judged.training.run)
        doubt.plot(x, judged.doubt, color=EVALUATION, linewidth=1.1)
        doubt.axhline(judged.training.unsure_from, color=MUTED, linewidth=1.0, linestyle="--")
        far = judged.far
        doubt.plot(x[far], np.zeros(int(far.sum())), "|", color=WRONG, markersize=6, label="far from training")
        plain(steering, "steering (°)")
        plain(speed, "speed (m/s)")
        plain(doubt, "doubt", "seconds" if timed else "frame")
        if car is not None:
            steering.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
        if far.any():
            doubt.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))

    caption = "What would be commanded on each frame, left is up. The dashed line is where doubt begins to be unusual."
    return picture("frames-course", "Commands and doubt", caption, draw, height_in=5.2, width_in=9.0)


def _commanded(judged: Judged) -> tuple[FloatArray, FloatArray] | None:
    """Steering in degrees and speed of the car's own policy, NaN where it said nothing."""
    outputs = judged.frames.said
    if outputs is None:
        return None
    heard = judged.compared
    actions = judged.metadata.actions
    steering, speed = np.full(len(outputs), np.nan), np.full(len(outputs), np.nan)
    if isinstance(actions, DiscreteActions):
        controls = actions.controls(outputs[heard].argmax(axis=1))
    else:
        controls = actions.controls(outputs[heard])
    steering[heard], speed[heard] = np.degrees(controls.steering_rad), controls.speed_mps
    return steering, speed


def _frame(judged: Judged, name: str, k: int, heat: NDArray[np.float32]) -> Picture:
    """The frame, its heat map, and what the policy said."""
    frame, actions = judged.pictures[k], judged.metadata.actions
    own = judged.frames.said
    compared = bool(judged.compared[k])

    def draw(figure: Figure) -> None:
        cells = figure.add_gridspec(2, 2, height_ratios=(3.0, 1.0))
        for column, shown in enumerate((np.repeat(frame[..., None], 3, axis=-1), heat_over(frame, heat))):
            axes = figure.add_subplot(cells[0, column])
            axes.imshow(shown, interpolation="none")
            axes.axis("off")
        bars = figure.add_subplot(cells[1, :])
        draw_bars(bars, actions, judged.outputs[k], int(judged.chosen[k]), GRID)
        if compared and own is not None:
            if isinstance(actions, ContinuousActions):
                marks = np.clip(own[k], -1.0, 1.0) * (-1.0, 1.0)
                bars.plot(marks, (1, 0), "|", color=INK, markersize=9, markeredgewidth=1.6)
            else:
                bars.plot(range(len(own[k])), own[k], "_", color=INK, markersize=7, markeredgewidth=1.6)

    time = judged.frames.times_s[k]
    name_of = judged.frames.names[k]
    title = f"frame {name_of} · {time:.2f} s" if np.isfinite(time) else name_of
    words = [command_label(float(judged.steering_deg[k]), float(judged.speed_mps[k])), f"doubt {judged.doubt[k]:.2f}"]
    usual = float(np.median(judged.training.distance))
    if usual > 0.0:
        words.append(f"distance {judged.distance[k] / usual:.1f}×")
    words += [word for word, flag in (("far", judged.far[k]), ("unsure", judged.unsure[k])) if flag]
    if compared:
        words.append("as the car did" if judged.agrees[k] else f"the car did otherwise (by {judged.apart[k]:.2f})")
    return picture(name, title, " · ".join(words), draw, height_in=2.75)


# --- tables -----------------------------------------------------------------------------------------------------------


def _ranges(found_covers: Sequence[Cover]) -> str:
    columns = [
        Column("range", "Of `randomization` in run.json.", left=True),
        Column("unit", "", left=True),
        Column("trained with", "What the run was trained with; without randomisation one value."),
        Column("these frames", "What the simulator's nominal frames have to be given to measure like these."),
        Column("suggested", "A range that holds both, a tenth wider where these frames need more."),
        Column("covered", "Share of these frames within the middle 98 % of training's, by that measure."),
        Column("would be", "The same after a training with all suggested ranges."),
    ]
    rows = [
        [
            it.field,
            _UNITS[it.field],
            _range(it.trained),
            _range(it.needed) + (", beyond the limits" if it.clipped else ""),
            _range(it.suggested),
            _percent(it.covered),
            _percent(it.would_be),
        ]
        for it in found_covers
    ]
    block = json.dumps(randomization(found_covers))
    note = "Brightness, blur and noise can be told from frames. Tones, the camera's mount and its field of view cannot."
    return (
        table(Table(columns, rows))
        + f'<p class="note">{escape(note)} In run.json, or in a RunConfig of a script:</p>'
        + f'<div class="scroll"><pre>"enable_domain_randomization": true, "randomization": {escape(block)}</pre></div>'
    )


def randomization(found_covers: Sequence[Cover]) -> dict[str, list[float]]:
    """The suggested ranges as run.json has them."""
    return {it.field: list(it.suggested) for it in found_covers}


def _range(values: tuple[float, float]) -> str:
    return f"{values[0]:.2f} to {values[1]:.2f}" if values[0] != values[1] else f"{values[0]:.2f}"


def _uses(judged: Judged) -> str:
    """How often each action is taken, here and in training."""
    if not judged.is_discrete:
        return ""
    columns = [
        Column("number", "As below the bars of frames.", left=True),
        Column("action", "Steering, left positive, and speed.", left=True),
        Column("these frames", "Share on which it is the likeliest."),
        Column("training", "The same on training's frames."),
    ]
    labels = action_labels(judged.metadata.actions)
    shares = [[_percent(share) for share in it.tolist()] for it in (taken(judged), judged.training.taken)]
    columns += [Column("the car", "Share of the compared frames on which the car's own policy took it.")] * bool(
        judged.compared.any()
    )
    if judged.compared.any():
        assert judged.frames.said is not None
        own = judged.frames.said[judged.compared].argmax(axis=1)
        shares.append([_percent(float(it)) for it in np.bincount(own, minlength=len(labels)) / len(own)])
    rows = [list(row) for row in zip(map(str, range(len(labels))), labels, *shares, strict=True)]
    return "<h3>Use of the actions</h3>" + table(Table(columns, rows))


def _table(judged: Judged) -> str:
    """Some of all frames; frames.csv has each."""
    count = len(judged.frames)
    some = np.unique(np.linspace(0, count - 1, min(_ROWS, count)).round().astype(int)).tolist()
    columns = [
        Column("frame", "The picture's file, or the number of the message or frame in the source.", left=True),
        Column("s", "Since the first frame."),
        Column("command", "What the policy would do.", left=True),
        Column("doubt", "0: sure, 1: as good as chance."),
        Column("distance", "To the 5th nearest frame of training in the policy's embedding."),
        Column("brightness", "Mean grey level."),
        Column("softness", "Of the steepest edges: the greater, the more blurred."),
        Column("noise", "Standard deviation in grey levels."),
        Column("", "far: from training; unsure: of what to do; other: than what the car did.", left=True),
    ]
    compared = judged.compared
    rows = []
    for k in some:
        flags = [
            *(["far"] if judged.far[k] else []),
            *(["unsure"] if judged.unsure[k] else []),
            *(["other"] if compared[k] and not judged.agrees[k] else []),
        ]
        rows.append(
            [
                judged.frames.names[k],
                number(float(judged.frames.times_s[k]), 2),
                command_label(float(judged.steering_deg[k]), float(judged.speed_mps[k])),
                number(float(judged.doubt[k]), 3),
                number(float(judged.distance[k]), 3),
                number(float(judged.looks.brightness[k]), 1),
                number(float(judged.looks.softness[k]), 3),
                number(float(judged.looks.noise[k]), 2),
                " ".join(flags),
            ]
        )
    note = "" if len(some) == count else f'<p class="note">{len(some)} of {count:,}; frames.csv has all.</p>'
    return note + table(Table(columns, rows), sortable=True)
