"""hyperparameters.json: defaults, ranges and the words of a refusal."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import InputError, InputWarning
from contract.hyperparameters import BATCH_SIZES, Hyperparameters
from tests.conftest import SHARED_REFERENCE

REFERENCE = SHARED_REFERENCE / "metrics"


def read(data: object, algorithm: str = "clipped_ppo", limits: bool = True) -> Hyperparameters:
    """Within the console's form, unless `limits` is off."""
    return Hyperparameters.parse(json.dumps(data), "hp.json", algorithm, limits=limits)


def test_defaults_are_the_guidances() -> None:
    assert read({}).to_dict() == {
        "batch_size": 64,
        "num_epochs": 10,
        "lr": 0.0003,
        "beta_entropy": 0.01,
        "discount_factor": 0.999,
        "loss_type": "huber",
        "num_episodes_between_training": 20,
        "exploration_type": "categorical",
        "e_greedy_value": 1.0,
        "epsilon_steps": 10000,
        "stack_size": 1,
        "sac_alpha": 0.2,
        "max_sample_count": 0,
        "sampling_frequency": 1,
        "term_cond_max_episodes": 100000,
        "term_cond_avg_score": 100000.0,
    }


def test_strings_as_the_guidance_passes_them() -> None:
    parsed = read(
        {
            "batch_size": "128",
            "num_epochs": "3",
            "lr": "0.0003",
            "loss_type": "MEAN_SQUARED_ERROR",
            "exploration_type": "Categorical",
            "pretrained_s3_bucket": "bucket",
            "pretrained_s3_prefix": "",
        }
    )
    assert (parsed.batch_size, parsed.num_epochs, parsed.lr) == (128, 3, 0.0003)
    assert (parsed.loss_type, parsed.exploration_type) == ("mean squared error", "categorical")
    assert (parsed.pretrained_s3_bucket, parsed.pretrained_s3_prefix) == ("bucket", None)
    written = json.loads(parsed.to_json())
    assert type(written["batch_size"]) is int
    assert type(written["lr"]) is float
    assert "pretrained_s3_prefix" not in written


def test_sac_may_train_after_every_episode_and_explores_by_noise() -> None:
    parsed = read({"num_episodes_between_training": 1}, "sac")
    assert (parsed.num_episodes_between_training, parsed.exploration_type) == (1, "additive_noise")
    assert read({"exploration_type": "Additive_noise"}, "sac").exploration_type == "additive_noise"


def test_soft_actor_critics_strings_as_the_guidance_passes_them() -> None:
    told = {
        "batch_size": "64",
        "lr": "0.0003",
        "exploration_type": "Additive_noise",
        "e_greedy_value": "1",
        "epsilon_steps": "10000",
        "discount_factor": "0.999",
        "sac_alpha": "0.2",
        "num_episodes_between_training": "1",
        "term_cond_max_episodes": "100000",
        "term_cond_avg_score": "100000",
    }
    parsed = read(told, "sac").to_dict()
    assert {key: parsed[key] for key in told} == {
        key: "additive_noise" if key == "exploration_type" else float(value) for key, value in told.items()
    }


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"batchsize": 64}, "the keys here are", "'batch_size'"),
    ({"batch_size": 100}, "one of 32, 64, 128, 256, 512", "write 128"),
    ({"batch_size": 16}, "one of 32, 64, 128, 256, 512", "write 32"),
    ({"batch_size": "big"}, "a number", "plain number"),
    ({"num_epochs": 2}, "3..10", "3..10"),
    ({"num_epochs": 3.5}, "whole number", "write 3 or 4"),
    ({"lr": 0.01}, "1e-08..0.001", "1e-08..0.001"),
    ({"lr": 0}, "1e-08..0.001", "1e-08..0.001"),
    ({"lr": True}, "a number", "plain number"),
    ({"beta_entropy": -0.1}, "0..1", "0..1"),
    ({"discount_factor": 1.01}, "0..1", "0..1"),
    ({"loss_type": "hubber"}, "huber, mean squared error", "'huber'"),
    ({"loss_type": 1}, "huber, mean squared error", "in quotes"),
    ({"num_episodes_between_training": 4}, "5..100", "5..100"),
    ({"num_episodes_between_training": 101}, "5..100", "5..100"),
    ({"exploration_type": "Additive_noise"}, "SAC only", "categorical"),
    ({"exploration_type": "greedy"}, "categorical, e-greedy, additive_noise", "'e-greedy'"),
    ({"e_greedy_value": 2}, "0..1", "0..1"),
    ({"epsilon_steps": 0}, "at least 1", "at least 1"),
    ({"stack_size": 4}, "one frame", "write 1"),
    ({"sac_alpha": 1.5}, "0..1", "0..1"),
    ({"max_sample_count": -1}, "at least 0", "at least 0"),
    ({"sampling_frequency": 0}, "at least 1", "at least 1"),
    ({"term_cond_max_episodes": 0}, "at least 1", "at least 1"),
    ({"term_cond_avg_score": "high"}, "any finite value", "plain number"),
    ({"pretrained_s3_bucket": 5}, "a word in quotes", "in quotes"),
    ({"pretrained_s3_prefix": ["a"]}, "a word in quotes", "in quotes"),
]


@pytest.mark.parametrize(("data", "rule", "fix"), BAD, ids=[str(case[0]) for case in BAD])
def test_bad_value_is_refused_with_place_rule_and_fix(data: dict[str, Any], rule: str, fix: str) -> None:
    with pytest.raises(InputError) as caught:
        read(data)
    error = caught.value
    assert error.where == f"hp.json: {next(iter(data))}"
    assert rule in error.rule
    assert fix in error.fix
    assert repr(next(iter(data)) if rule == "the keys here are" else error.value) in str(error)


@pytest.mark.parametrize(
    ("data", "algorithm", "form"),
    [
        ({"batch_size": 1024}, "clipped_ppo", "one of 32, 64, 128, 256, 512"),
        ({"batch_size": "1"}, "clipped_ppo", "one of 32, 64, 128, 256, 512"),
        ({"num_epochs": 1}, "clipped_ppo", "3..10"),
        ({"num_epochs": 100}, "sac", "3..10"),
        ({"lr": 0.01}, "clipped_ppo", "1e-08..0.001"),
        ({"lr": 1e-9}, "clipped_ppo", "1e-08..0.001"),
        ({"beta_entropy": -0.5}, "clipped_ppo", "0..1"),
        ({"num_episodes_between_training": 1}, "clipped_ppo", "5..100"),
        ({"num_episodes_between_training": 400}, "sac", "1..100"),
        ({"stack_size": 3}, "clipped_ppo", "one frame"),
        ({"sac_alpha": 2.5}, "sac", "0..1"),
    ],
)
def test_what_the_consoles_form_would_refuse_is_taken_with_its_range(
    data: dict[str, Any], algorithm: str, form: str
) -> None:
    [(key, value)] = data.items()
    with pytest.warns(InputWarning) as warned:
        parsed = read(data, algorithm, limits=False)
    [text] = [str(it.message) for it in warned]
    assert text.startswith(f"hp.json: {key}: {value} ")
    assert form in text
    assert parsed.to_dict()[key] == float(value)
    with pytest.raises(InputError):
        read(data, algorithm)


@pytest.mark.parametrize(
    "data",
    [{"batch_size": 0}, {"batch_size": 64.5}, {"num_epochs": 0}, {"lr": 0}, {"lr": "fast"}, {"beta_entropy": "1e999"},
     {"discount_factor": 1.01}, {"e_greedy_value": 2}, {"num_episodes_between_training": 0}, {"stack_size": 0.5},
     {"sac_alpha": -1}],
)  # fmt: skip
def test_what_cannot_be_computed_with_is_refused_all_the_same(data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(data))):
        read(data, limits=False)


def test_e_greedy_is_for_clipped_ppo_only() -> None:
    assert read({"exploration_type": "E-greedy"}).exploration_type == "e-greedy"
    with pytest.raises(InputError, match=r"hp\.json: exploration_type: 'e-greedy'(.|\n)*SAC explores"):
        read({"exploration_type": "e-greedy"}, "sac")


def test_a_whole_file_in_the_usual_form_comes_back_byte_for_byte() -> None:
    usual = json.dumps(Hyperparameters().to_dict(), indent=2) + "\n"
    assert Hyperparameters.parse(usual).to_json() == usual


def test_unknown_key_of_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"batchsize": 32}')
    with pytest.raises(InputError, match=r"mine\.json: batchsize"):
        Hyperparameters.load(file)


def test_unknown_key_only_warns_when_not_strict() -> None:
    with pytest.warns(UserWarning, match="'batch_size'"):
        assert Hyperparameters.parse('{"batchsize": 32}', "hp.json", strict=False) == Hyperparameters()


def test_real_file_of_deepracer_for_cloud() -> None:
    file = REFERENCE / "drfc-hyperparameters.json"
    if not file.exists():
        pytest.skip(f"no reference files in {REFERENCE}")
    parsed = Hyperparameters.load(file)
    assert (parsed.lr, parsed.discount_factor, parsed.num_epochs, parsed.batch_size) == (0.0003, 0.95, 3, 64)
    written = parsed.to_dict()
    assert json.loads(file.read_text()).items() <= written.items()


valid = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": st.sampled_from(BATCH_SIZES),
        "num_epochs": st.integers(3, 10),
        "lr": st.floats(1e-8, 1e-3),
        "beta_entropy": st.floats(0, 1),
        "discount_factor": st.floats(0, 1),
        "loss_type": st.sampled_from(["huber", "mean squared error"]),
        "num_episodes_between_training": st.integers(5, 100),
        "epsilon_steps": st.integers(1, 10**9),
        "sac_alpha": st.floats(0, 1),
        "term_cond_avg_score": st.floats(-1e9, 1e9),
        "pretrained_s3_bucket": st.text(min_size=1, max_size=5),
    },
)


@given(valid)
@settings(max_examples=100, deadline=None)
def test_written_values_read_back_the_same_also_as_strings(data: dict[str, Any]) -> None:
    parsed = read(data)
    assert Hyperparameters.parse(parsed.to_json()) == parsed
    assert read({key: str(value) for key, value in data.items()}) == parsed


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(anything | st.dictionaries(st.sampled_from([*Hyperparameters.model_fields]), anything, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_json_is_hyperparameters_or_input_error(data: object) -> None:
    try:
        parsed = read(data)
    except InputError as error:
        said = str(error)
    else:
        said = "hp.json" if Hyperparameters.parse(parsed.to_json()) == parsed else "not the same again"
    assert said.startswith("hp.json")
