"""Damaged JSON: the whole objects of its list, and where it breaks off."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.metrics import salvage_evaluation_metrics, salvage_training_metrics, training_metrics_json, training_rows
from contract.salvage import list_of_objects
from contract.state import EpisodeStatus
from tests.unit.synthetic import drive

values = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8), st.none())
objects = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), max_size=6)


@given(objects, st.sampled_from([None, 1]), st.sampled_from([None, (",", ":")]), st.booleans())
def test_an_undamaged_list_is_what_json_reads(
    items: list[dict[str, object]], indent: int | None, separators: tuple[str, str] | None, keyed: bool
) -> None:
    written = {"before": 1, "metrics": items} if keyed else items
    text = json.dumps(written, indent=indent, separators=separators)
    assert list_of_objects(text, "x", "metrics" if keyed else None) == (items, None)


@settings(max_examples=200)
@given(objects, st.data())
def test_of_a_list_that_is_cut_off_the_whole_objects_are_left(
    items: list[dict[str, object]], data: st.DataObject
) -> None:
    text = json.dumps({"metrics": items}, indent=1)
    end = text.rindex("]")
    cut = data.draw(st.integers(0, end))
    found, problem = list_of_objects(text[:cut], "metrics.json", "metrics")
    assert found == items[: len(found)]
    assert problem is not None
    assert problem.where.startswith("metrics.json line ")
    line = int(problem.where.rsplit(" ", 1)[1])
    assert 1 <= line <= text[:cut].count("\n") + 1
    # every object whose closing brace and what follows it is there has been found
    begins = len(text) - len(text[text.index("[") + 1 :])
    whole, place, decoder = 0, begins, json.JSONDecoder()
    for _ in items:
        while text[place] in ", \n":
            place += 1
        _, place = decoder.raw_decode(text, place)
        whole += place <= cut
    assert len(found) == whole


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", 1, 0),
        ("[1, 2]", 1, 0),
        ('{"metrics": 3}', 1, 0),
        ('{"metrics": [\n{"a": 1},\n{"a": 2}\n{"a": 3}]}', 4, 2),
        ('{"metrics": [\n{"a": 1},\n7, {"a": 2}]}', 3, 1),
        ('{"metrics": [' + '{"a": ' * 100_000, 1, 0),
        ('\n\n{"metrics": [{"a": 1},', 3, 1),
        ('{"other":[{"a": 1}]}', 1, 0),  # a colon and a list where those of "metrics" would stand
        ('{"metrics" [{"a": 1}]}', 1, 0),
    ],
)
def test_the_line_of_the_damage_is_named(text: str, line: int, found: int) -> None:
    items, problem = list_of_objects(text, "x.json", "metrics")
    assert len(items) == found
    assert problem is not None
    assert problem.where == f"x.json line {line}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('[{"a": 1}, 7, 8]', "7, 8]"),
        ('[{"a": 1} 7, 8]', "7, 8]"),
        ('[{"a": 1},', "(end of file)"),
        ("[" + 500 * "7", 80 * "7"),
        (500 * "7", 80 * "7"),
    ],
)
def test_what_stands_at_the_damage_is_shown(text: str, shown: str) -> None:
    problem = list_of_objects(text, "x.json")[1]
    assert problem is not None and problem.value == shown


def test_what_the_file_must_be_is_said() -> None:
    for key, rule in ((None, "a JSON list"), ("metrics", 'a JSON object with the list "metrics"')):
        problem = list_of_objects("7", "x.json", key)[1]
        assert problem is not None and problem.rule == rule


def test_metrics_rows_that_break_a_rule_are_left_out() -> None:
    rows = training_rows([drive(i, EpisodeStatus.off_track) for i in range(4)], 0.0)
    content = json.loads(training_metrics_json(rows, "progress"))
    content["metrics"][1]["episode"] = "x"
    del content["metrics"][2]["trial"]
    found, problems = salvage_training_metrics(json.dumps(content)[:-30], "m.json")
    assert found == [rows[0], rows[3]]
    assert [it.where for it in problems] == ["m.json metrics.1.episode", "m.json metrics.2.trial"]
    cut, problems = salvage_training_metrics(json.dumps(content)[:-120], "m.json")
    assert cut == rows[:1]
    assert problems[0].where == "m.json line 1"
    assert salvage_evaluation_metrics('{"metrics": []}', "m.json") == ([], [])
