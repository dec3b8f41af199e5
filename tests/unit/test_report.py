"""The report's page: whole, on its own, small, and there whatever is missing."""

import io
import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import image
from matplotlib.figure import Figure

from contract import artifacts
from contract.stores.local import LocalStore
from tests import recorded
from tests.unit.log_support import store
from undercut.analysis.findings import LogFinding, findings, headline
from undercut.analysis.loading import load_run
from undercut.analysis.log import EVALUATIONS, Kind, RunLog, fastest
from undercut.analysis.measures import iteration_table
from undercut.analysis.places import STEERING_BINS, LapScale, action_use
from undercut.analysis.tables import Column, Table
from undercut.report import curves, maps, page
from undercut.report import report as reporting
from undercut.report.canvas import Picture, picture
from undercut.report.report import best_laps_table, comparison_table, episode_table, iteration_rows, report

VOID = {"meta", "br", "img", "link", "input", "hr"}
MAX_BYTES = 3_000_000


class Reader(HTMLParser):
    """Checks that tags are closed in order; collects tables, ids, references and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.errors: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        self.references += [value for name, value in values.items() if name in ("href", "src", "xlink:href", "data")]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


__all__ = ["store"]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def load(store: LocalStore) -> RunLog:
    return load_run(store, store.root.name, [store.root.parent / "tracks"])


@pytest.fixture(scope="module")
def made(store: LocalStore) -> reporting.Report:
    return report([load(store)])


@pytest.mark.slow
def test_the_page_is_valid_and_alone(made: reporting.Report) -> None:
    found = read(made.html)
    assert (found.errors, found.open) == ([], [])
    assert made.html.startswith("<!DOCTYPE html>")
    without_images = re.sub(r'"data:image/png;base64,[^"]*"', '""', made.html)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", without_images), "nothing is loaded from anywhere"
    assert all(it.startswith(("#", "data:image/png;base64,")) for it in found.references)
    assert len(found.ids) == len(set(found.ids))
    used = {it[1:] for it in found.references if it.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", made.html))
    assert used <= set(found.ids)
    assert len(made.html.encode()) < MAX_BYTES
    assert 'name="viewport"' in made.html
    assert "prefers-color-scheme:dark" in made.html
    assert "@media print" in made.html


def test_equal_logs_have_equal_pictures(store: LocalStore, made: reporting.Report) -> None:
    again = curves.spread_pictures(load(store))
    first = {it.name: it for it in made.pictures}
    assert [first[it.name] for it in again] == again


def test_every_section_and_picture_is_there(made: reporting.Report) -> None:
    assert {it.name for it in made.pictures} >= {
        *("reward", "completion", "lap_times", "entropy", "losses", "kl", "steering_change", "driven_speed"),
        *("path_speed", "path_throttle", "path_reward", "path_action", "heat_time", "heat_reward", "exits"),
        *("actions", "actions_by_sector", "sectors", "completion_spread", "lap_time_spread"),
    }
    for it in made.pictures:
        pixels = image.imread(io.BytesIO(it.png))
        assert pixels.std() > 0.01, it.name
        assert it.caption
        assert it.svg in made.html
    for section in ("progress", "laps", "places", "actions", "spread", "episodes", "findings"):
        assert f'<section id="{section}">' in made.html


def test_colours_are_the_readers(made: reporting.Report) -> None:
    for it in made.pictures:
        assert "#24292f" not in it.svg
        assert "DejaVu" not in it.svg
        assert "var(--" in it.svg


def test_numbers_in_the_tables_are_those_of_the_log(store: LocalStore, made: reporting.Report) -> None:
    log = load(store)
    tables = {tuple(table[0][:2]): table[1:] for table in read(made.html).tables}
    summary = iteration_table(log)
    rows = tables["iteration", "episodes"]
    assert [row[3] for row in rows] == [f"{it.reward:,.2f}" for it in summary]
    assert [row[5] for row in rows] == [f"{it.completion_pct:,.1f}" for it in summary]
    episodes = tables["#", "episode"]
    assert len(episodes) == len(log.episodes)
    by_title = {row[1]: row for row in episodes}
    for episode in log.episodes:
        row = by_title[episode.title]
        assert row[3] == f"{episode.reward:,.2f}"
        assert row[5] == f"{episode.time_s:,.3f}"
        assert row[6] == episode.outcome.title
        assert row[8] == str(len(episode.steps))
    best = tables["", "lap"]
    expected = [lap for lap in fastest(log.episodes, 10) if lap.complete]
    assert [row[1] for row in best] == [lap.title for lap in expected]
    assert [row[2] for row in best] == [f"{lap.time_s:,.3f}" for lap in expected]


def test_names_from_files_are_escaped() -> None:
    evil = '<script>alert("1")</script>$x$'

    def draw(figure: Figure) -> None:
        figure.subplots().set_title(evil)

    shown = page.pictures([picture("x", evil, evil, draw)])
    lead = page.facts([(evil, evil)]) + page.problems([evil]) + page.figures([(evil, evil, evil)])
    table = page.table(Table([Column(evil, evil)], [[evil]]))
    body = shown + table + page.findings([LogFinding(evil, evil)])
    html = page.page(evil, lead, [page.Section("x", evil, body)])
    found = read(html)
    assert (found.errors, found.open) == ([], [])
    assert found.tags.count("script") == 1
    assert "".join(found.text).count(evil) >= 17


def test_several_runs_are_compared(store: LocalStore, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "another")
    shutil.copytree(store.root.parent / "tracks", tmp_path / "tracks")
    other = LocalStore(tmp_path / "another")
    other.delete(artifacts.training_simtrace(1))
    logs = [load(store), load(other)]
    (table,) = read(comparison_table(logs)).tables
    assert [row[0] for row in table[1:]] == ["oval", "another"]
    assert table[1][1:] == table[2][1:], "the metrics know as much"


@pytest.mark.slow
def test_a_page_of_several_runs(store: LocalStore, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "another")
    shutil.copytree(store.root.parent / "tracks", tmp_path / "tracks")
    other = LocalStore(tmp_path / "another")
    other.delete(artifacts.training_simtrace(1))
    made = report([load(store), load(other)])
    found = read(made.html)
    assert (found.errors, found.open) == ([], [])
    assert {it.name for it in made.pictures} >= {"compare_training", "compare_evaluation", "compare_entropy"}
    for it in made.pictures:
        assert it.name.startswith("compare") == ("another" in it.svg), "both names are in the legends"
    assert "another: no simtraces of training iteration 1: their" in made.html
    assert report([load(store), load(other)]) == made, "equal logs have equal pages"


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    made = report([load_run(LocalStore(tmp_path / "nothing"), "nothing", [])])
    found = read(made.html)
    assert (found.errors, found.open, made.pictures) == ([], [], [])
    assert "no training episodes" in made.html
    assert "Nothing was driven that is known" in made.html


@pytest.mark.slow
def test_without_the_track_the_paths_are_drawn_alone(store: LocalStore) -> None:
    log = load_run(store, "oval", [])
    training = log.traced(Kind.training)
    goes_wrong = maps.exit_picture(log, training, "Training")
    assert goes_wrong is not None
    assert "data:image/png" in goes_wrong.svg, "the cars' paths, as pixels"
    use = action_use(log, training, LapScale.of(log))
    assert use is not None
    names = [it.name for it in maps.action_pictures(log, use, "Training")]
    assert names == ["actions", "actions_by_sector"], "sectors of an unknown road cannot be drawn"


def test_continuous_actions_are_shown_as_steering(store: LocalStore, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "oval")
    shutil.copytree(store.root.parent / "tracks", tmp_path / "tracks")
    copy = LocalStore(tmp_path / "oval")
    copy.put(
        artifacts.MODEL_METADATA,
        b'{"action_space": {"steering_angle": {"low": -30, "high": 30}, "speed": {"low": 1, "high": 2}},'
        b'"action_space_type": "continuous", "sensor": ["FRONT_FACING_CAMERA"], "version": "5"}',
    )
    for path in copy.root.glob("iteration-data/*/*/*.csv"):
        head, *rows = path.read_text().splitlines()
        cells = [row.split(",") for row in rows]
        lines = [",".join([*cell[:7], f"[{cell[5]} 1.0]", *cell[8:]]) for cell in cells]
        path.write_text("\n".join([head, *lines]) + "\n")
    log = load(copy)
    use = action_use(log, log.of(Kind.training), LapScale.of(log))
    assert use is not None
    assert len(use.labels) == STEERING_BINS
    np.testing.assert_allclose(use.by_sector.sum(axis=1), 1.0)
    assert use.continuous


@pytest.mark.parametrize("draw", [curves.progress_pictures, curves.spread_pictures])
def test_pictures_of_nothing_are_none(draw: Callable[[RunLog], list[Picture]]) -> None:
    assert draw(RunLog("x", "x", (), {})) == []


def test_gaps_in_the_iterations_are_gaps_in_the_lines() -> None:
    np.testing.assert_array_equal(curves._gapped([0, 1, 5, 6, 9], [1, 2, 3, 4, 5]), [1, 2, np.nan, 3, 4, np.nan, 5])


def test_the_drawn_laps_are_the_best(store: LocalStore) -> None:
    log = load(store)
    laps, what = reporting._best(log)
    assert [lap.kind for lap in laps] == [Kind.evaluation] * 3
    assert laps[0].time_s == min(lap.time_s for lap in log.of(Kind.evaluation))
    assert f"{laps[0].time_s:.2f} s" in what
    assert maps.exit_picture(log, log.traced(*EVALUATIONS), "Evaluation") is not None


PARTS = [
    *(artifacts.RUN_CONFIG, artifacts.MODEL_METADATA, artifacts.ITERATIONS, artifacts.DIAGNOSTICS),
    *(artifacts.TRAINING_METRICS, artifacts.EVALUATION_METRICS, artifacts.evaluation_simtrace()),
    *itertools.chain.from_iterable(
        (artifacts.training_simtrace(i), artifacts.training_evaluation_simtrace(i)) for i in range(recorded.ITERATIONS)
    ),
]


damages = st.dictionaries(
    st.sampled_from(PARTS),
    st.one_of(st.none(), st.floats(0.0, 1.0), st.binary(max_size=40)),
    min_size=1,
    max_size=len(PARTS),
)
"""None deletes, a number keeps that part of the file, bytes stand in the middle of it."""


@contextmanager
def damaged(store: LocalStore, damage: dict[str, float | bytes | None]) -> Iterator[RunLog]:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(store.root, root / "oval")
        shutil.copytree(store.root.parent / "tracks", root / "tracks")
        copy = LocalStore(root / "oval")
        for key, what in damage.items():
            content, path = copy.get(key), copy.path(key)
            if what is None:
                path.unlink()
            elif isinstance(what, float):
                path.write_bytes(content[: int(what * len(content))])
            else:
                middle = len(content) // 2
                path.write_bytes(content[:middle] + what + content[middle + len(what) :])
        yield load(copy)


@settings(max_examples=10)
@given(damage=damages)
def test_whatever_is_damaged_the_rest_is_told(damage: dict[str, float | bytes | None], store: LocalStore) -> None:
    with damaged(store, damage) as log:
        if None in damage.values():
            assert log.problems
        body = episode_table(log) + iteration_rows(log) + best_laps_table(log) + comparison_table([log])
        body += page.findings(findings(log)) + page.figures(headline(log)) + page.problems(log.problems)
        found = read(body)
        assert (found.errors, found.open) == ([], [])
        assert "nan" not in "".join(found.text)


@pytest.mark.slow
@settings(max_examples=8)
@given(damage=damages)
def test_whatever_is_damaged_there_is_a_page(damage: dict[str, float | bytes | None], store: LocalStore) -> None:
    with damaged(store, damage) as log:
        made = report([log])
    found = read(made.html)
    assert (found.errors, found.open) == ([], [])
