"""A sweep: takes trials, has them trained, watches their evaluations, stops the bad ones, and keeps what came of them.

Every trial belongs to the process that holds its claim. A trial that the study calls running and that nobody holds is
one whose process died: whoever finds it goes on with it, with the same values, number and run. So nothing is lost or
done twice when a trial, a sweep, or the Redis between several sweeps is killed.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.trial import TrialState
from rich.console import Console

from contract import artifacts
from contract.errors import HeldError, InputError, UndercutError
from contract.runtime import usable_cores
from undercut.api import prepare
from undercut.runs.run import Run, run_names
from undercut.runs.workspace import RUNS_PREFIX, run_place, workspace
from undercut.sweep.backend import TrialBackend, TrialLostError
from undercut.sweep.choosing import chosen, pruner_for, sampler_for
from undercut.sweep.scores import Score
from undercut.sweep.spec import Sweep
from undercut.sweep.storage import Claim, Studies
from undercut.terminal import say

MAX_LOST = 5
"""Times that the process of one trial may die before it counts as failed: it may be the trial that kills it."""
OTHERS_POLL_S = 5.0
"""How often it is looked whether a trial of another machine has been given up."""
HELD_S = 900.0


@dataclass(slots=True)
class _Taken:
    """A trial of this process."""

    trial: optuna.Trial
    study: optuna.Study
    claim: Claim
    begun: bool
    """Whether another process had it before."""


class Sweeper:
    """Does a sweep's trials with a backend, `parallel` at a time, until all are done or `stop` is called."""

    def __init__(
        self, sweep: Sweep, studies: Studies, backend: TrialBackend, parallel: int, say: Callable[[str], None]
    ) -> None:
        self._sweep, self._studies, self._backend = sweep, studies, backend
        self._parallel, self._say = parallel, say
        self._score = Score(sweep.file.objective, sweep.longest_s)
        self._stopping = threading.Event()
        studies.agree(sweep.fingerprint(), sweep.where)
        self._refuse_old_runs()

    def _refuse_old_runs(self) -> None:
        """A new sweep must not take an old one's runs for its own."""
        if self._studies.study().get_trials(deepcopy=False):
            return
        if any(self._sweep.is_own_run(name) for name in run_names()):
            rule = f"a new sweep makes the runs {self._sweep.name}-0001 and so on, and there are some already"
            fix = "write another `name:`, or delete them"
            raise InputError(f"{self._sweep.where}: name", self._sweep.name, rule, fix)

    def stop(self) -> None:
        """Let the runs finish their iterations; their trials go on with the next call."""
        self._stopping.set()

    def run(self) -> None:
        """Until all trials are done. KeyboardInterrupt once what runs has stopped; an error of ours stops the others
        too."""
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="trial") as pool:
            slots = [pool.submit(self._slot) for _ in range(self._parallel)]
            try:
                _first_error(slots)
            except BaseException:
                self.stop()
                raise

    def _slot(self) -> None:
        waited = False
        while not self._stopping.is_set():
            with self._next() as taken:
                if taken is not None:
                    waited = False
                    self._do(taken)
                    continue
            if self._all_done():
                return
            if not waited:
                self._say("no trial is left to begin; waits for those that run")
            waited = True
            self._stopping.wait(OTHERS_POLL_S)

    def _all_done(self) -> bool:
        return all(it.state.is_finished() for it in self._studies.study().get_trials(deepcopy=False))

    # --- taking

    @contextlib.contextmanager
    def _next(self) -> Iterator[_Taken | None]:
        """A trial that its process has left, or a new one, held until the block ends; None when there is neither."""
        with contextlib.ExitStack() as stack:
            taken: _Taken | None = None
            with self._studies.claims.waited_for("next"):
                trials = self._studies.study().get_trials(deepcopy=False)
                for left in (it for it in trials if not it.state.is_finished()):
                    claim = stack.enter_context(self._studies.claims.claimed(f"trial-{left.number + 1:04d}"))
                    study = self._study(left.number)
                    if claim is not None and not study.trials[left.number].state.is_finished():  # not told meanwhile
                        taken = _Taken(optuna.Trial(study, left._trial_id), study, claim, True)
                        break
                else:
                    if len(trials) < self._sweep.trials:
                        taken = self._new(stack)
            yield taken

    def _new(self, stack: contextlib.ExitStack) -> _Taken:
        study = self._study(len(self._studies.study().get_trials(deepcopy=False)))
        trial = study.ask()
        claim = stack.enter_context(self._studies.claims.claimed(f"trial-{trial.number + 1:04d}"))
        assert claim is not None, "nobody else knows of this trial yet"
        return _Taken(trial, study, claim, False)

    def _study(self, number: int) -> optuna.Study:
        return self._studies.study(sampler_for(self._sweep, number), pruner_for(self._sweep))

    # --- doing

    def _do(self, taken: _Taken) -> None:
        trial, number = taken.trial, taken.trial.number
        name = self._sweep.run_name(number)
        values = chosen(trial, self._sweep)
        shown = ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in values.items())
        self._say(f"{name}: {'goes on' if taken.begun else 'begins'} with {shown}")
        trial.set_user_attr("run", name)
        watch = _Watch(taken, self._score, name, self._stopping)
        try:
            if self._prepare(name, number, values):
                self._train(name, watch)
        except HeldError:
            raise
        except UndercutError as error:
            trial.set_user_attr("why", str(error))
            taken.study.tell(trial, state=TrialState.FAIL)
            self._say(f"{name}: failed: {str(error).splitlines()[0]}")
            return
        value = self._score.of_run(run_place(name))
        if not taken.claim.is_held():
            self._say(f"{name}: another machine has taken it, since this one was away")
        elif watch.is_pruned:
            taken.study.tell(trial, state=TrialState.PRUNED)
            self._say(f"{name}: stopped after {watch.iterations} iterations: half of the others were better by then")
        elif value is not None:
            taken.study.tell(trial, value)
            self._say(f"{name}: {self._sweep.file.objective.replace('_', ' ')} {value:.3f}")
        else:
            self._say(f"{name}: stopped; the same command goes on with it")

    def _prepare(self, name: str, number: int, values: Mapping[str, object]) -> bool:
        """Make the trial's run, unless it is there; InputError where one is there that is another's. False when the
        sweep was stopped before."""
        made = self._sweep.files_of(number, values)
        shared = max(usable_cores() // self._parallel, 1) if self._backend.shares_this_machine else 0
        threads = made.config.threads or shared
        deadline_s = time.monotonic() + HELD_S
        while not self._stopping.is_set():
            try:
                with workspace().locked(RUNS_PREFIX + name) as place, TemporaryDirectory() as folder:
                    if place.exists(artifacts.RUN_CONFIG):
                        threads = Run.open(name, place).config.threads
                    config = made.config.model_copy(update={"threads": threads})
                    hyperparameters = Path(folder) / "hyperparameters.json"
                    hyperparameters.write_text(made.hyperparameters)
                    prepare(place, config, made.reward, made.metadata, hyperparameters, made.preset)
                return True
            except HeldError:  # by a process whose sweep died, which finishes its iteration
                if time.monotonic() > deadline_s:
                    raise
                self._stopping.wait(1.0)
        return False

    def _train(self, name: str, watch: "_Watch") -> None:
        """Have the run trained, also when its process dies a few times."""
        for lost in range(MAX_LOST + 1):
            if run_place(name).exists(artifacts.EVALUATION_METRICS):
                break  # its process ended just before its sweep did
            try:
                self._backend.run(name, watch.is_wanted)
                break
            except TrialLostError as error:
                if lost == MAX_LOST:
                    raise UndercutError(
                        f"{error}, {MAX_LOST + 1} times in all: memory that runs out is usual"
                    ) from None
                self._say(f"{error}; goes on with it ({lost + 1} of {MAX_LOST} times)")
        watch.is_wanted()  # the last iterations


class _Watch:
    """Tells the study what a run's evaluations say, and hears from it whether the run is worth going on with."""

    def __init__(self, taken: _Taken, score: Score, name: str, stopping: threading.Event) -> None:
        self._taken, self._score, self._stopping = taken, score, stopping
        self._place = run_place(name)
        self._seen_s: float | None = None
        self.is_pruned = False
        self.iterations = 0

    def is_wanted(self) -> bool:
        if self._stopping.is_set() or not self._taken.claim.is_held() or self.is_pruned:
            return False
        with contextlib.suppress(KeyError):  # no iteration is finished yet
            changed_s = self._place.modified_s(artifacts.TRAINING_METRICS)
            if changed_s != self._seen_s:
                self._report()
                self._seen_s = changed_s
        return not self.is_pruned

    def _report(self) -> None:
        """What is new, iteration by iteration."""
        trial = self._taken.trial
        known = self._taken.study.trials[trial.number].intermediate_values
        done = self._place.exists(artifacts.EVALUATION_METRICS)
        for iteration, value in enumerate(self._score.of_iterations(self._place)):
            self.iterations = iteration + 1
            if iteration not in known:
                trial.report(value, iteration)
                known[iteration] = value
                # a run that has come to its end counts, whatever its last iteration was
                self.is_pruned = self.is_pruned or (not done and trial.should_prune())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _first_error(slots: "list[Future[None]]") -> None:
    """Wait for all; raises what one of them raised."""
    left = set(slots)
    while left:
        done, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)  # so that Ctrl-C is heard
        for slot in done:
            slot.result()


def sweep_runs(sweep: Sweep, studies: Studies, backend: TrialBackend, parallel: int, console: Console) -> None:
    """Do the sweep in this process; KeyboardInterrupt once what runs has stopped."""

    def say_when(line: str) -> None:
        say(console, f"{time.strftime('%H:%M:%S')} {line}")

    sweeper = Sweeper(sweep, studies, backend, parallel, say_when)
    try:
        sweeper.run()
    except KeyboardInterrupt:
        say_when("stopped")
        raise
