"""The file of a sweep: what its values mean for runs, and what bad ones say."""

import itertools
import json
import re
import shutil
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.hyperparameters import Hyperparameters
from tests.conftest import REPO
from undercut.sweep.spec import Range, Sweep, grid_size, grid_values

S = "trials: 4\nsearch:\n  "
RATE = "  hyperparameters.lr: {low: 0.0001, high: 0.001, log: true}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPO / "rewards" / "default.py", tmp_path / "a.py")
    shutil.copy(REPO / "rewards" / "prevent_zig_zag.py", tmp_path / "b.py")
    shutil.copy(REPO / "actions" / "front_shallow_continuous_sac.json", tmp_path / "sac.json")
    return tmp_path


def load(folder: Path, text: str, name: str = "fast.yaml") -> Sweep:
    (folder / name).write_text(text)
    return Sweep.load(folder / name)


def test_a_trials_values_go_where_their_keys_say(folder: Path) -> None:
    sweep = load(
        folder,
        "trials: 3\nrun: {track: kidney, training: {max_iterations: 7}}\nhyperparameters: {num_epochs: 4}\n"
        "search:\n  reward: [a.py, b.py]\n  run.training.max_episode_steps: [100, 300]\n  run.seed: [5, 6]\n" + RATE,
    )
    values = {"reward": "b.py", "run.training.max_episode_steps": 300, "run.seed": 6, "hyperparameters.lr": 0.0005}
    made = sweep.files_of(11, values)
    assert sweep.name == "fast" and made.config.name == "fast-0012"
    assert (made.config.track, made.config.seed) == ("kidney", 6)
    assert (made.config.training.max_iterations, made.config.training.max_episode_steps) == (7, 300)
    assert made.reward == folder / "b.py"
    hyper = Hyperparameters.parse(made.hyperparameters)
    assert (hyper.lr, hyper.num_epochs, hyper.discount_factor) == (0.0005, 4, 0.95)


def test_fast_laps_are_looked_for_unless_the_file_says_otherwise(folder: Path) -> None:
    search = "trials: 1\nsearch: {run.seed: [1]}\n"
    config = load(folder, search).files_of(0, {}).config
    assert (config.training.best_model_metric, config.training.clean_evaluations) == ("laptime", 0)
    config = load(folder, search + "objective: completion\n").files_of(0, {}).config
    assert (config.training.best_model_metric, config.training.clean_evaluations) == ("progress", 3)
    config = load(folder, search + "run: {training: {clean_evaluations: 2}}\n").files_of(0, {}).config
    assert config.training.clean_evaluations == 2


def test_a_racers_folder_gives_files_and_settings(folder: Path) -> None:
    (folder / "mine").mkdir()
    shutil.copy(folder / "a.py", folder / "mine" / "reward_function.py")
    shutil.copy(folder / "sac.json", folder / "mine" / "model_metadata.json")
    (folder / "mine" / "training_params.yaml").write_text("JOB_TYPE: TRAINING\nWORLD_NAME: kidney\n")
    made = load(folder, "folder: mine\ntrials: 1\nsearch: {hyperparameters.sac_alpha: [0.1, 0.2]}\n").files_of(0, {})
    assert made.config.track == "kidney" and made.reward == Path("mine/reward_function.py").resolve()
    assert "additive_noise" in made.hyperparameters


def test_a_grid_has_every_combination(folder: Path) -> None:
    sweep = load(
        folder, "sampler: grid\nsearch:\n  run.seed: [1, 2]\n  hyperparameters.num_epochs: {low: 3, high: 9, step: 2}\n"
    )
    assert sweep.trials == 8 == grid_size(dict(sweep.file.search))
    assert grid_values(Range(low=3, high=9, step=2)) == (3, 5, 7, 9)
    assert grid_values(Range(low=0.1, high=0.3, step=0.1)) == pytest.approx((0.1, 0.2, 0.3))


def test_what_may_change_in_between_is_not_in_the_fingerprint(folder: Path) -> None:
    text = "trials: 3\nsearch:\n  reward: [a.py, b.py]\n"
    begun = load(folder, text).fingerprint()
    assert load(folder, text.replace("3", "30") + "pruner: none\n").fingerprint() == begun
    changes = [text + "seed: 1\n", text + "run: {seed: 3}\n", text.replace("[a.py, b.py]", "[a.py]")]
    assert len({load(folder, it).fingerprint() for it in changes} | {begun}) == 4
    (folder / "b.py").write_text((folder / "b.py").read_text() + "\n")
    assert load(folder, text).fingerprint() != begun
    json.loads(begun)


BAD = {
    "trails: 4\nsearch: {run.seed: [1]}\n": ("line 1: trails", "did you mean 'trials'?"),
    "trials: 4\n": ("search", "add search"),
    "trials: 4\nsearch: {}\n": ("line 2: search", "at least 1"),
    "search: {run.seed: [1]}\n": ("trials", "write trials: 24"),
    S + "hyperparameters.lr: {low: 0.01, high: 0.001}\n": ("line 3: search.hyperparameters.lr", "swap the two"),
    S + "hyperparameters.lr: {low: 0.0, high: 0.001, log: true}\n": ("line 3", "above 0"),
    S + "hyperparameters.lr: {low: 0.0001, hihg: 0.001}\n": ("line 3", "(missing)"),
    S + "hyperparameters.lr: {low: 0.0001, high: 0.001, logg: true}\n": ("lr.logg", "did you mean 'log'?"),
    S + "hyperparameters.lr: {low: -1, high: 0.001}\n": ("line 3: search.hyperparameters.lr.low", "above 0"),
    S + "hyperparameters.lr: 0.001\n": ("line 3: search.hyperparameters.lr", "a list of choices, or a range"),
    S + "hyperparameters.lrr: [0.001]\n": ("line 3", "did you mean 'hyperparameters.lr'?"),
    S + "lr: [0.001]\n": ("line 3", "did you mean 'hyperparameters.lr'?"),
    S + "run.name: [a, b]\n": ("line 3: search.run.name", "run.KEY"),
    S + "run.training.max_steps: [abc]\n": ("line 3", "'abc'"),
    S + "run.seed: [1, 1]\n": ("line 3", "each choice once"),
    S + "run.seed: []\n": ("line 3", "at least 1"),
    S + "reward: [none.py]\n": ("line 3: search.reward", "none.py"),
    S + "reward: {low: 1, high: 2}\n": ("line 3: search.reward", "paths of files"),
    S + "run.track: {low: 1, high: 2}\n": ("line 3: search.run.track", "a range is of numbers"),
    S + "run.track: [paddock, nowhere]\n": ("track", "nowhere"),
    S + "run.simulator: [builtin, webots]\n": ("line 3: search.run.simulator", "builtin"),
    "trials: 4\nrun: {trakc: paddock}\nsearch: {run.seed: [1]}\n": ("line 2: run.trakc", "did you mean 'track'?"),
    "trials: 4\nhyperparameters: {lr: -1}\nsearch: {run.seed: [1]}\n": ("line 2: hyperparameters.lr", "above 0"),
    "trials: 4\nfiles: {rewrad: a.py}\nsearch: {run.seed: [1]}\n": ("line 2: files.rewrad", "did you mean 'reward'?"),
    "trials: 4\nsampler: grid\nsearch:\n" + RATE: ("line 4: search.hyperparameters.lr", "a range with a step"),
    "trials: 0\nsearch: {run.seed: [1]}\n": ("line 1: trials", "how many trials"),
    "trials: 4\ntrials: 5\nsearch: {run.seed: [1]}\n": ("line 2: trials", "stands once"),
    "trials: [4\n": ("line", "valid YAML"),
    "just words\n": ("fast.yaml", "lines of KEY: value"),
    "name: a/b\ntrials: 4\nsearch: {run.seed: [1]}\n": ("line 1: name", "letters, digits"),
    S + "metadata: [sac.json]\n  hyperparameters.exploration_type: [e-greedy, categorical]\n": (
        "exploration_type", "SAC"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "says"), BAD.items(), ids=itertools.count())
def test_bad_input_is_told_with_line_key_rule_and_fix(folder: Path, text: str, says: tuple[str, str]) -> None:
    with pytest.raises(InputError) as error:
        load(folder, text)
    for part in says:
        assert re.search(re.escape(part), str(error.value)), error.value
    assert not (folder / "runs").exists()


def test_the_documented_file_is_one(folder: Path) -> None:
    for name, source in {
        "my_metadata.json": "actions/default.json",
        "my_reward.py": "rewards/default.py",
        "new_reward.py": "rewards/prevent_zig_zag.py",
    }.items():
        shutil.copy(REPO / source, folder / name)
    page = (REPO / "docs" / "sweep.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    sweep = load(folder, text)
    assert (sweep.name, sweep.trials, len(sweep.file.search)) == ("pace", 24, 5)
