"""What all readers of racers' files are made of: texts, JSON, numbers, words and guesses."""

import math
import warnings
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from contract.errors import InputError
from contract.fields import (
    MAX_TEXT_BYTES,
    Strict,
    at,
    broken_rule,
    check_keys,
    choice,
    load_object,
    nearest,
    number,
    parse_json,
    read_text,
    text_of,
    validated,
    whole,
)
from contract.hyperparameters import Hyperparameters


def test_a_text_may_be_as_long_as_is_said_and_no_longer(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_bytes(b"x" * MAX_TEXT_BYTES)
    assert len(read_text(file, "it")) == MAX_TEXT_BYTES
    file.write_bytes(b"x" * (MAX_TEXT_BYTES + 1))
    with pytest.raises(InputError, match="it is a short text"):
        read_text(file, "it")


def test_every_kind_of_line_end_is_one(tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(file, "it") == "a\nb\nc\n"


def test_what_is_no_file_is_refused_with_the_systems_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must exist"):
        read_text(tmp_path / "none", "it")
    with pytest.raises(InputError, match="it must be a readable file") as caught:
        read_text(tmp_path, "it")
    assert caught.value.value == "Is a directory"


def test_bytes_that_are_no_text_are_shown_from_the_first_wrong_one() -> None:
    with pytest.raises(InputError) as caught:
        text_of(b"0123456789\xff12345678", "mine.txt")
    assert (caught.value.where, caught.value.value) == ("mine.txt, byte 10", b"\xff1234567")


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ('{"a": 1,\n  "b": x }', "f, line 2, column 8", '"b": x }'),
        ('{"a": 1, "a": 2}', "f: a", 2),
        ('{"a": 1e999}', "f: a", math.inf),
        ('{"a": -1e999}', "f: a", -math.inf),
        ('{"a": [0, 1e999]}', "f: a", [0, math.inf]),
        ('{"a": [[1], [0, [-1e999]]]}', "f: a", [[1], [0, [-math.inf]]]),
        ("[[1e999]]", "f", "[[1e999]]"),
        (f"[{'0, ' * 40}-1e999]", "f", f"[{'0, ' * 26}0"),
        ("1e999", "f", "1e999"),
        ('{"a": NaN}', "f", "NaN"),
        ("9" * 5000, "f", "9" * 80),
    ],
)
def test_json_that_is_refused(text: str, place: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        parse_json(text, "f", "mend it")
    assert (caught.value.where, caught.value.value) == (place, value)


def test_files_of_others_may_repeat_keys_and_hold_what_is_not_finite() -> None:
    assert parse_json('{"a": 1, "a": [Infinity, 1e999]}', "f", "", strict=False) == {"a": [math.inf, math.inf]}


def test_an_object_is_wanted() -> None:
    assert load_object('{"a": [1, [2.5]]}', "f") == {"a": [1, [2.5]]}
    with pytest.raises(InputError, match="one JSON object"):
        load_object("[]", "f")


def test_the_first_place_that_breaks_a_rule_is_named() -> None:
    reader = TypeAdapter(list[dict[str, int]])
    assert validated(reader, [{"a": 1}], "f", "mend it") == [{"a": 1}]
    with pytest.raises(InputError) as caught:
        validated(reader, [{"a": 1}, {"b": "x", "c": "y"}], "f", "mend it")
    assert (caught.value.where, caught.value.value, caught.value.fix) == ("f.1.b", "x", "mend it")
    assert caught.value.rule == "a whole number"


class Inner(Strict):
    size: int = Field(default=1, ge=1, le=4)
    kind: Literal["round", "square"] = "round"
    name: str = Field(default="", max_length=3)

    @field_validator("name")
    @classmethod
    def _lower(cls, name: str) -> str:
        if name != name.lower():
            raise ValueError("a name is in lower case; write it so")
        return name


class Outer(Strict):
    must: int
    inner: Inner | None = None
    several: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("values", "key", "rule", "fix"),
    [
        ({}, ("must",), "the key must be there", "add must"),
        ({"must": "x"}, ("must",), "a whole number", "write a whole number"),
        ({"must": 1, "mast": 1}, ("mast",), "the keys here are must, inner, several", "did you mean 'must'?"),
        ({"must": 1, "Zzz": 1}, ("Zzz",), "the keys here are must, inner, several", "delete the key"),
        ({"must": 1, "inner": {"sise": 2}}, ("inner", "sise"), "the keys here are size, kind, name", "'size'"),
        ({"must": 1, "several": [{}, {"sise": 2}]}, ("several", "1", "sise"), "the keys here are size", "'size'"),
        ({"must": 1, "inner": {"size": 9}}, ("inner", "size"), "a number, at most 4", "that is at most 4"),
        ({"must": 1, "inner": {"kind": "squar"}}, ("inner", "kind"), "one of round, square", "did you mean 'square'?"),
        ({"must": 1, "inner": {"name": "long"}}, ("inner", "name"), "at most 3 characters", "shorten it"),
        ({"must": 1, "inner": {"name": "A"}}, ("inner", "name"), "a name is in lower case", "write it so"),
        ({"must": 1, "inner": 3}, ("inner",), "keys with their values", "write keys with their values"),
    ],
)
def test_a_broken_rule_is_told_in_our_words(
    values: dict[str, object], key: tuple[str, ...], rule: str, fix: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    broken = broken_rule(caught.value, Outer)
    assert broken.key == key
    assert broken.rule.startswith(rule) and fix in broken.fix


KNOWN = ["clipped_ppo", "sac", "Discount_Factor", "lr"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *(("ppo", "clipped_ppo"), ("PPO", "clipped_ppo"), ("discount_facter", "Discount_Factor"), ("sca", "sac")),
        *(("pp", None), ("sa", "sac"), ("rl", "lr"), ("throttle", None), ("", None)),
    ],
)
def test_the_word_that_was_most_likely_meant(word: str, meant: str | None) -> None:
    assert nearest(word, KNOWN) == meant


def test_a_part_of_several_words_is_no_guess_by_itself() -> None:
    assert nearest("_time", ["lower_lane_change_time", "upper_lane_change_time"]) is None
    assert nearest("lane_change_time_lower", ["upper_lane_change_time", "lower_lane_change_time"]) is not None


def test_keys_that_are_not_known() -> None:
    check_keys({"lr": 1, "sac": 2}, KNOWN, "f")
    with pytest.raises(InputError, match="did you mean 'Discount_Factor'") as caught:
        check_keys({"lr": 1, "discount": 2}, KNOWN, "f: inner")
    assert caught.value.where == "f: inner.discount"
    with pytest.raises(InputError, match="delete the key"):
        check_keys({"throttle": 1}, KNOWN, "f")
    with pytest.warns(UserWarning, match="unknown key") as warned:
        check_keys({"throttle": 1, "lr": 1, "sacc": 2}, KNOWN, "f", strict=False)
    assert [str(one.message) for one in warned] == [
        "f: throttle: unknown key ignored; delete the key",
        "f: sacc: unknown key ignored; did you mean 'sac'?",
    ]


def test_a_place_within_a_place() -> None:
    assert at(at("f.json", "a"), "b") == "f.json: a.b"


@given(st.floats(-2.0, 3.0))
def test_a_number_is_one_within_its_bounds(value: float) -> None:
    for above in (False, True):
        if value <= 2.0 and (value > -1.0 or (value == -1.0 and not above)):
            assert number(value, "f", -1.0, 2.0, above=above) == number(repr(value), "f", -1.0, 2.0) == value
        else:
            with pytest.raises(InputError, match="change it to"):
                number(value, "f", -1.0, 2.0, above=above)


def test_bounds_belong_to_what_is_allowed_but_for_the_lower_where_it_is_excluded() -> None:
    assert [number(value, "f", 0, 1) for value in (0, 0.5, 1)] == [0.0, 0.5, 1.0]
    assert [number(value, "f", 0, 1, above=True) for value in (0.5, 1)] == [0.5, 1.0]
    for value in (-0.1, 1.1):
        with pytest.raises(InputError):
            number(value, "f", 0, 1)
    for value in (-0.1, 0, 1.1):
        with pytest.raises(InputError):
            number(value, "f", 0, 1, above=True)


@pytest.mark.parametrize(
    "value", [True, False, None, [], [1], {}, "", "one", "nan", "inf", math.inf, math.nan, 10**400]
)
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(InputError, match="plain number"):
        number(value, "f", -math.inf, math.inf)


@pytest.mark.parametrize(
    ("low", "high", "above", "limits"),
    [
        (0, 1, False, "0..1 m"),
        (0, math.inf, False, "at least 0 m"),
        (0, math.inf, True, "above 0 m"),
        (0, 1, True, "above 0, at most 1 m"),
        (-math.inf, math.inf, False, "any finite value m"),
    ],
)
def test_limits_are_told_as_they_are(low: float, high: float, above: bool, limits: str) -> None:
    with pytest.raises(InputError) as caught:
        number("x", "f", low, high, "m", above)
    assert caught.value.rule == f"a number, {limits}"
    if math.isfinite(low):
        with pytest.raises(InputError) as caught:
            number(-5, "f", low, high, "m", above)
        assert caught.value.fix == f"change it to a value that is {limits}"


def test_whole_numbers() -> None:
    assert [whole(value, "f", 1, 64) for value in ("64", 64.0, 1)] == [64, 64, 1]
    assert type(whole(64.0, "f", 1)) is int
    with pytest.raises(InputError, match="write 2 or 3"):
        whole(2.5, "f", 1)


def test_words() -> None:
    assert choice(" SAC ", "f", KNOWN) == "sac"
    assert choice("discount_factor", "f", KNOWN) == "Discount_Factor"
    for value, fix in (("ppo", "did you mean 'clipped_ppo'?"), ("throttle", "choose one of them"), (3, "in quotes")):
        with pytest.raises(InputError) as caught:
            choice(value, "f", KNOWN)
        assert fix in caught.value.fix


def test_a_warning_points_at_whoever_reads() -> None:
    with pytest.warns(UserWarning, match="throttle") as warned:
        Hyperparameters.parse('{"throttle": 1}', strict=False)
    assert warned[0].filename == __file__


def test_nothing_is_said_of_keys_that_are_known() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_keys({"lr": 1}, KNOWN, "f", strict=False)
