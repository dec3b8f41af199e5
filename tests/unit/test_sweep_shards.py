"""Shards of a sweep: who has which trial, what goes along to another machine, journals in a bucket, and all of it
together again. Runs are real in all but their training."""

import json
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.host import STORE, S3Address
from contract.stores.local import LocalStore
from contract.stores.s3 import S3Store
from simapp.tracks import load_track
from tests.aws_server import BUCKET
from tests.cloud_support import Here, here
from tests.unit.test_sweep import Stand
from undercut.runs.run import DEFAULT_METADATA, Run, route_file
from undercut.runs.workspace import workspace
from undercut.sweep.results import SweepResult
from undercut.sweep.shards import JOURNAL, Shard, shards_of
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import Studies, kept_studies, same_shares, shard_studies
from undercut.sweep.sweeping import Sweeper
from undercut.sweep.transfer import Fetcher, is_done, packed, send

__all__ = ["here"]

TEXT = """
trials: 7
pruner: none
sampler: random
seed: 3
run: {training: {max_iterations: 2}, threads: 1}
search:
  hyperparameters.lr: {low: 0.0001, high: 0.001, log: true}
  run.seed: [1, 2, 3]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("undercut.sweep.storage._PAUSE_S", 0.02)
    return tmp_path


def loaded(text: str = TEXT, name: str = "s") -> Sweep:
    Path(f"{name}.yaml").write_text(text)
    return Sweep.load(Path(f"{name}.yaml"))


def train(sweep: Sweep, shard: Shard | None, stand: Stand | None = None) -> SweepResult:
    """The shard's trials, or without one the whole sweep's, with a journal in this folder."""
    own = sweep.of_shard(shard) if shard else sweep
    studies = Studies(sweep.name, None, "minimize", shard)
    Sweeper(own, studies, stand or Stand(), 1, lambda line: None).run()
    return SweepResult.of(own, studies)


def test_every_trial_belongs_to_one_shard_for_good() -> None:
    for count in range(1, 8):
        shards = shards_of(count)
        for trials in range(20):
            own = [[shard.number(k) for k in range(shard.share(trials))] for shard in shards]
            assert sorted(number for one in own for number in one) == list(range(trials))
            assert max(map(len, own)) - min(map(len, own)) <= 1
            assert all(
                shard.has(n) == (n in numbers)
                for shard, numbers in zip(shards, own, strict=True)
                for n in range(trials)
            )
        assert [Shard.parse(str(it)) for it in shards] == shards == [Shard.of_folder(it.folder) for it in shards]
    for wrong in ("0/4", "5/4", "2", "a/b", "2/0", "1/1001", "-1/2"):
        with pytest.raises(InputError, match=r"--shard(.|\n)*2/4"):
            Shard.parse(wrong)


@pytest.mark.slow
def test_shards_together_are_the_sweep(folder: Path) -> None:
    """What a trial of the random sampler has follows from the seed and its number: three shards find what one sweep
    without shards does, under the same names."""
    parts = [train(loaded(), shard) for shard in shards_of(3)]
    assert [len(it.trials) for it in parts] == [3, 2, 2]
    found = SweepResult.of(loaded(), *kept_studies("s"))
    alone = train(loaded(TEXT, "alone"), None)
    assert [it.run for it in found.trials] == [f"s-{number:04d}" for number in range(1, 8)]
    assert [it.values for it in found.trials] == [it.values for it in alone.trials]
    assert [it.value for it in found.trials] == [it.value for it in alone.trials]
    assert found.best[0].value == min(it.value or 0.0 for it in alone.trials)
    assert found.importance == pytest.approx(alone.importance)
    assert found.counted()["complete"] == 7 and found.counted()["waiting"] == 0


def test_a_grid_in_shards_drives_each_combination_once(folder: Path) -> None:
    text = (
        TEXT.replace("trials: 7\n", "")
        .replace("random", "grid")
        .replace("{low: 0.0001, high: 0.001, log: true}", "[0.0002, 0.001]")
    )
    for shard in shards_of(4):
        train(loaded(text), shard)
    found = SweepResult.of(loaded(text), *kept_studies("s"))
    assert len(found.trials) == len({tuple(it.values.items()) for it in found.trials}) == 6


def test_more_trials_later_are_new_ones(folder: Path) -> None:
    for shard in shards_of(2):
        train(loaded(), shard)
    more, stand = loaded(TEXT.replace("trials: 7", "trials: 10")), Stand()
    assert not any(is_done(more, shard) for shard in shards_of(2))
    for shard in shards_of(2):
        train(more, shard, stand)
    assert sorted(stand.calls) == ["s-0008", "s-0009", "s-0010"]
    assert all(is_done(more, shard) for shard in shards_of(2))


def test_shares_stay_as_they_were_begun(folder: Path) -> None:
    train(loaded(), Shard(1, 2))
    same_shares("s", 2)
    with pytest.raises(InputError, match=r"3 shards(.|\n)*has 2 shards"):
        same_shares("s", 3)
    with pytest.raises(InputError, match=r"no shards(.|\n)*--machines 2"):
        same_shares("s", None)
    train(loaded(TEXT, "t"), None)
    with pytest.raises(InputError, match="begun without shards"):
        same_shares("t", 2)
    with pytest.raises(InputError, match="there are some already"):
        train(loaded(TEXT.replace("trials", "name: t\ntrials"), "t2"), Shard(1, 2))  # s-0001 is there, and no journal


# --- files of a sweep on another machine -----------------------------------------------------------------------------


def racers_sweep(folder: Path) -> Path:
    """A sweep's file whose rewards lie elsewhere, one with a module beside it, and what is nobody's business."""
    for name in ("team/sweeps", "team/rewards", "tracks"):
        (folder / name).mkdir(parents=True)
    body = "def reward_function(params):\n    return 1.0\n"
    (folder / "team/rewards/one.py").write_text("import helper\n" + body)
    (folder / "team/rewards/helper.py").write_text("SHARE = 0.5\n")
    (folder / "team/rewards/two.py").write_text(body)
    (folder / "team/rewards/secret.py").write_text("PASSWORD = 'x'\n")
    (folder / "team/sweeps/my_metadata.json").write_text(DEFAULT_METADATA.read_text())
    (folder / "team/sweeps/.env").write_text("KEY=1\n")
    for name in ("garden", "other"):
        (folder / "tracks" / f"{name}.npy").write_bytes(route_file(load_track("paddock")))
    path = folder / "team/sweeps/s.yaml"
    text = TEXT.replace("run: {", "files: {metadata: my_metadata.json}\nrun: {track: garden_cw, ")
    path.write_text(text.replace("search:\n", "search:\n  reward: [../rewards/one.py, ../rewards/two.py]\n"))
    return path


def test_what_a_sweep_names_goes_along_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = racers_sweep(folder)
    sweep = Sweep.load(path)
    content, key = packed(sweep, path)
    assert key == "files/sweeps/s.yaml"
    assert sorted(content) == [
        "files/rewards/helper.py",
        "files/rewards/one.py",
        "files/rewards/two.py",
        "files/sweeps/my_metadata.json",
        "files/sweeps/s.yaml",
        "tracks/garden.npy",
    ]
    there = LocalStore(folder / "there")
    for name, data in content.items():
        there.put(name, data)
    monkeypatch.chdir(folder / "there")
    again = Sweep.load(Path(key))
    assert again.fingerprint() == sweep.fingerprint(), "the journal of one goes on with the other"
    assert again.files_of(0, {"reward": "../rewards/one.py"}).reward.read_text().startswith("import helper")


def test_a_path_that_another_machine_has_not_is_refused(folder: Path) -> None:
    path = racers_sweep(folder)
    text = path.read_text()
    path.write_text(text.replace("../rewards/two.py", str(folder / "team/rewards/two.py")))
    with pytest.raises(InputError, match=r"reward(.|\n)*from the sweep's file on"):
        packed(Sweep.load(path), path)
    path.write_text(text.replace("garden_cw", "tracks/garden.npy"))
    with pytest.raises(InputError, match=r"run\.track(.|\n)*undercut tracks add"):
        packed(Sweep.load(path), path)
    path.write_text(text.replace("track: garden_cw", "pretrained: old/model.tar.gz"))
    with pytest.raises(InputError, match=r"run\.pretrained(.|\n)*undercut import"):
        send(Sweep.load(path), path, LocalStore(folder / "there"), [])


def test_results_come_as_they_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards train in a place of their own; journals and finished runs come here, each run once."""
    sweep, there = loaded(), LocalStore(folder / "there")
    there.root.mkdir()
    stand, said = Stand(), list[str]()
    fetcher = Fetcher(sweep.name, there, said.append)

    def stops(name: str, call: int) -> None:
        if len(stand.calls) == 3:
            sweeper.stop()

    def elsewhere(shard: Shard) -> Sweeper:
        own = sweep.of_shard(shard)
        return Sweeper(own, Studies("s", None, "minimize", shard), stand, 1, lambda line: None)

    monkeypatch.chdir(there.root)
    sweeper = elsewhere(Shard(1, 2))
    stand.before = stops
    sweeper.run()
    monkeypatch.chdir(folder)
    fetcher.fetch()
    found = SweepResult.of(sweep, *kept_studies("s"))
    assert [it.state for it in found.trials] == ["complete", "complete", "running"]
    assert said == ["brought runs/s-0001", "brought runs/s-0003"] and not is_done(sweep, Shard(1, 2))
    monkeypatch.chdir(there.root)
    for shard in shards_of(2):
        elsewhere(shard).run()
    monkeypatch.chdir(folder)
    fetcher.fetch(unfinished=True)
    assert len(said) == len(set(said)) == 7 and all(is_done(sweep, shard) for shard in shards_of(2))
    found = SweepResult.of(sweep, *kept_studies("s"))
    for it in found.trials:
        assert Run.open(it.run).config.seed == it.values["run.seed"]


# --- a journal in a bucket -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_shard_in_a_bucket_goes_on_on_another_machine(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is gone between two words: its journal, claims and run are as the bucket has them."""
    monkeypatch.setenv(STORE, f"s3://{BUCKET}/team")
    shard, stand = Shard(2, 2), Stand()
    sweep = loaded().of_shard(shard)

    def goes(name: str, call: int) -> None:
        if len(stand.calls) == 2:
            raise KeyboardInterrupt  # which no trial survives

    stand.before = goes
    with (
        pytest.raises(KeyboardInterrupt),
        shard_studies("s", "minimize", shard, workspace()) as studies,
    ):
        Sweeper(sweep, studies, stand, 1, lambda line: None).run()
    lines = S3Store(S3Address(BUCKET, "team")).get(f"sweeps/s/2-of-2/{JOURNAL}").decode().splitlines()
    assert all(json.loads(line) for line in lines)
    other = here.folder / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    Path("s.yaml").write_text(TEXT)
    later = Stand()
    with shard_studies("s", "minimize", shard, workspace()) as studies:
        assert [it.state.name for it in studies.study().get_trials()] == ["COMPLETE", "RUNNING"]
        Sweeper(sweep, studies, later, 1, lambda line: None).run()
        found = SweepResult.of(sweep, studies)
    assert later.calls == ["s-0004", "s-0006"] and [it.run for it in found.trials] == ["s-0002", "s-0004", "s-0006"]
    assert found.counted()["complete"] == 3


def test_of_two_journals_the_longer_one_counts_and_none_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard goes on here after it was begun elsewhere, and there again; then it is begun anew elsewhere."""
    sweep, there, journal = loaded(), LocalStore(folder / "there"), f"sweeps/s/1-of-1/{JOURNAL}"
    there.root.mkdir()
    stand = Stand()

    def at(place: Path, most: int) -> None:
        monkeypatch.chdir(place)
        begun = len(stand.calls)
        studies = Studies("s", None, "minimize", Shard(1, 1))
        sweeper = Sweeper(sweep, studies, stand, 1, lambda line: None)
        stand.before = lambda run, call: sweeper.stop() if len(stand.calls) > begun + most else None
        sweeper.run()
        monkeypatch.chdir(folder)

    fetcher = Fetcher("s", there, lambda line: None)
    at(there.root, 2)
    fetcher.fetch(unfinished=True)
    at(folder, 2)
    mine = Path(journal).read_bytes()
    fetcher.fetch()
    assert Path(journal).read_bytes() == mine != there.get(journal), "what is known here is more"
    send(sweep, Path("s.yaml"), there, [Shard(1, 1)])
    assert there.get(journal) == mine
    at(there.root, 9)
    fetcher.fetch(unfinished=True)
    found = SweepResult.of(sweep, *kept_studies("s"))
    assert found.counted()["complete"] == 7 and sorted(set(stand.calls)) == [it.run for it in found.trials]
    there.put(journal, b'{"op_code":0}\n')
    with pytest.raises(InputError, match="two journals"):
        fetcher.fetch()
    with pytest.raises(InputError, match="two journals"):
        send(sweep, Path("s.yaml"), there, [Shard(1, 1)])
