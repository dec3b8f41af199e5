"""Sweeps with runs that are real in all but their training: a stand-in writes the files that a training leaves."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contract import artifacts
from contract.errors import InputError, UndercutError
from contract.metrics import EvaluationRow, TrainingRow, evaluation_metrics_json, training_metrics_json
from undercut.report.sweep import sweep_page
from undercut.runs.run import Run
from undercut.sweep.backend import TrialLostError
from undercut.sweep.results import SweepResult
from undercut.sweep.scores import DIRECTIONS, Score, evaluations
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import Studies
from undercut.sweep.sweeping import MAX_LOST, Sweeper

TEXT = """
trials: 8
startup_trials: 3
warmup_iterations: 0
pruner: none
run: {training: {max_iterations: 3}, threads: 1}
search:
  hyperparameters.lr: {low: 0.0001, high: 0.001, log: true}
  run.seed: [1, 2, 3]
"""


def row(phase: str, episode: int, seconds: float, pct: int, reward: int = 0) -> TrainingRow:
    status = "Lap complete" if pct == 100 else "Off track"
    return TrainingRow(reward, 0, 0, round(1000 * seconds), episode, 1, phase, pct, status)


class Stand:
    """Trains nothing: its laps take `seconds` of the run's own learning rate. Notes calls and what runs at once."""

    shares_this_machine = True

    def __init__(
        self, seconds: Callable[[Run], float] = lambda run: 10.0 + 1000 * run.files.hyperparameters.lr
    ) -> None:
        self._seconds = seconds
        self.calls: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.before: Callable[[str, int], None] = lambda name, calls: None

    def run(self, name: str, is_wanted: Callable[[], bool]) -> None:
        with self.lock:
            self.calls.append(name)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.before(name, self.calls.count(name))
            self._train(Run.open(name), is_wanted)
        finally:
            with self.lock:
                self.at_once -= 1

    def _train(self, run: Run, is_wanted: Callable[[], bool]) -> None:
        rows: list[TrainingRow] = []
        for iteration in range(run.config.training.max_iterations):
            seconds = self._seconds(run) + (3 - iteration)
            rows += [row("training", iteration, 1.0, 30)] + [row("evaluation", iteration, seconds, 100, 7)] * 2
            run.store.put(artifacts.TRAINING_METRICS, training_metrics_json(rows, "laptime").encode())
            if not is_wanted():
                return
        lap = EvaluationRow(100, 0, 0, round(1000 * self._seconds(run)), "Lap complete", 0, 0, 0, 0, 0, 1)
        run.store.put(artifacts.EVALUATION_METRICS, evaluation_metrics_json([lap]).encode())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("undercut.sweep.storage._PAUSE_S", 0.02)
    return tmp_path


def begin(backend: Stand, text: str = TEXT, parallel: int = 2, name: str = "s") -> Sweeper:
    Path(f"{name}.yaml").write_text(text)
    sweep = Sweep.load(Path(f"{name}.yaml"))
    studies = Studies(name, None, DIRECTIONS[sweep.file.objective])
    sweeper = Sweeper(sweep, studies, backend, parallel, lambda line: None)
    return sweeper


def result(name: str = "s") -> SweepResult:
    sweep = Sweep.load(Path(f"{name}.yaml"))
    return SweepResult.of(sweep, Studies(name, None, DIRECTIONS[sweep.file.objective]))


def whole(found: SweepResult, count: int) -> None:
    """Every trial once, its run with the trial's own values."""
    assert [it.run for it in found.trials] == [f"s-{n:04d}" for n in range(1, count + 1)]
    for it in found.trials:
        run = Run.open(it.run)
        assert run.config.seed == it.values["run.seed"]
        assert run.files.hyperparameters.lr == it.values["hyperparameters.lr"]
    assert sorted(path.name for path in Path("runs").iterdir() if path.is_dir()) == [it.run for it in found.trials]


def test_every_trial_is_trained_once_and_the_best_is_the_one_with_the_fastest_lap(folder: Path) -> None:
    stand = Stand()
    begin(stand).run()
    found = result()
    whole(found, 8)
    assert sorted(stand.calls) == [it.run for it in found.trials]
    assert stand.most_at_once <= 2
    rates = {it.run: it.values["hyperparameters.lr"] for it in found.trials}
    assert [it.run for it in found.best] == sorted(rates, key=lambda run: rates[run])
    assert found.best[0].value == pytest.approx(10.0 + 1000 * float(min(rates.values())), abs=1e-3)
    assert len(set(rates.values())) == 8, "no two trials draw the same"
    assert found.importance["hyperparameters.lr"] > found.importance["run.seed"]
    assert sum(found.importance.values()) == pytest.approx(1.0)


def test_a_trial_whose_process_dies_goes_on_and_one_that_always_dies_fails(folder: Path) -> None:
    stand = Stand()

    def dies(name: str, call: int) -> None:
        if name == "s-0003" or (name == "s-0002" and call < 3):
            raise TrialLostError(f"{name} was ended by SIGKILL")

    stand.before = dies
    begin(stand).run()
    found = result()
    whole(found, 8)
    assert stand.calls.count("s-0002") == 3 and stand.calls.count("s-0003") == MAX_LOST + 1
    assert [it.run for it in found.trials if it.state == "failed"] == ["s-0003"]
    assert "SIGKILL" in found.trials[2].why
    assert found.counted()["complete"] == 7


@pytest.mark.slow
def test_a_run_that_fails_for_good_is_a_failed_trial_with_its_reason(folder: Path) -> None:
    stand = Stand()

    def fails(name: str, call: int) -> None:
        if name == "s-0001":
            raise UndercutError("the reward function raised ZeroDivisionError")

    stand.before = fails
    begin(stand).run()
    assert stand.calls.count("s-0001") == 1
    assert "ZeroDivisionError" in result().trials[0].why
    page = sweep_page(result())
    assert "ZeroDivisionError" in page and page.count("<figure>") == 4 and "s-0008" in page
    told = json.loads(json.dumps(result().as_json(), allow_nan=False))
    assert told["trials"]["failed"] == 1 and told["best"]["run"] == result().best[0].run


def test_what_is_stopped_goes_on_with_the_same_trials(folder: Path) -> None:
    stand = Stand()
    sweeper = begin(stand)

    def stops(name: str, call: int) -> None:
        if len(stand.calls) == 5:
            sweeper.stop()

    stand.before = stops
    sweeper.run()
    half = result()
    assert 0 < half.counted()["complete"] < 8 and half.counted()["running"] > 0
    values = {it.run: it.values for it in half.trials}
    later = Stand()
    begin(later).run()
    found = result()
    whole(found, 8)
    assert found.counted()["complete"] == 8
    assert {it.run: it.values for it in found.trials if it.run in values} == values
    done = {it.run for it in half.trials if it.state == "complete"}
    assert not done & set(later.calls)


def test_two_sweeps_of_one_folder_share_the_trials(folder: Path) -> None:
    stands = Stand(), Stand()
    sweepers = [begin(stand) for stand in stands]
    threads = [threading.Thread(target=sweeper.run) for sweeper in sweepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole(result(), 8)
    assert sorted(stands[0].calls + stands[1].calls) == [it.run for it in result().trials]


@pytest.mark.slow
def test_slow_trials_are_stopped_by_what_their_evaluations_say(folder: Path) -> None:
    stand = Stand(lambda run: 100.0 if run.config.seed == 3 else 10.0)
    text = TEXT.replace("pruner: none", "pruner: median\nsampler: random\nseed: 4").replace("trials: 8", "trials: 20")
    begin(stand, text, parallel=1).run()
    found = result()
    whole(found, 20)
    pruned = [it for it in found.trials if it.state == "pruned"]
    assert pruned and all(it.values["run.seed"] == 3 and len(it.curve) < 3 for it in pruned)


def test_a_grid_drives_each_combination_once(folder: Path) -> None:
    text = TEXT.replace("trials: 8", "sampler: grid").replace(
        "{low: 0.0001, high: 0.001, log: true}", "[0.0002, 0.001]"
    )
    begin(Stand(), text).run()
    found = result()
    whole(found, 6)
    assert len({tuple(it.values.items()) for it in found.trials}) == 6


@pytest.mark.slow
def test_a_changed_file_and_runs_of_an_older_sweep_are_refused(folder: Path) -> None:
    begin(Stand()).run()
    with pytest.raises(InputError, match=r"run(.|\n)*begun with another one"):
        begin(Stand(), TEXT.replace("max_iterations: 3", "max_iterations: 4"))
    begin(Stand(), TEXT.replace("trials: 8", "trials: 9")).run()
    whole(result(), 9)
    for path in Path("sweeps/s").glob("*.log"):
        path.unlink()
    with pytest.raises(InputError, match="there are some already"):
        begin(Stand())


def test_an_unfinished_lap_is_worse_than_any_finished_one_and_better_the_further_it_comes() -> None:
    score = Score("lap_time", 100.0)
    assert score.of_laps([(10.0, 100, True), (20.0, 100, True)]) == 15.0
    far, near = score.of_laps([(3.0, 90, False)]), score.of_laps([(9.0, 20, False)])
    assert 100.0 < far < near < 200.0
    assert Score("completion", 100.0).of_laps([(3.0, 90, False), (9.0, 20, False)]) == 55.0


def test_evaluations_are_told_apart_by_the_training_between_them() -> None:
    rows = [
        row("training", 1, 1, 5),
        row("training", 2, 1, 5),
        row("evaluation", 2, 8, 100),
        row("evaluation", 2, 9, 100),
    ]
    rows += [row("training", 3, 1, 5), row("evaluation", 3, 7, 100)]
    assert [[it.elapsed_time_in_milliseconds for it in laps] for laps in evaluations(rows)] == [[8000, 9000], [7000]]
