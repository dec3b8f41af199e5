"""A model that was trained elsewhere becomes a run: its files are found, its weights checked and saved as our own."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from contract import artifacts
from contract.config import RunConfig, check_run_name
from contract.errors import CheckpointError, InputError, InputWarning
from contract.fields import text_of
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.metrics import TrainingRow, parse_evaluation_metrics, parse_training_metrics, training_metrics_json
from contract.params import RunParams, read_training_params
from contract.simtrace import Trace, read_csv
from contract.stores.local import LocalStore
from trainer.agents import make_agent
from trainer.checkpoints import Checkpoints
from trainer.common.export import car_bundle, what_drives
from trainer.learn import Progress
from trainer.pretrained import Learner, ModelFolder, Pretrained, begin_from
from undercut.analysis.joining import by_iteration
from undercut.analysis.log import Episode
from undercut.analysis.workers import training_of, worker_of_metrics, worker_of_trace
from undercut.runs.pretraining import S3, model_folder
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_REWARD, RacerFiles, Run
from undercut.runs.workspace import RUNS_PREFIX, staged, workspace

# --- The training of several workers, as deepracer-for-cloud keeps it, as the files of one ----------------------------


@dataclass(slots=True)
class WorkersFiles:
    """Metrics rows by worker, and simtraces by worker and iteration."""

    rows: dict[int, list[TrainingRow]] = field(default_factory=dict)
    texts: dict[int, dict[int, str]] = field(default_factory=dict)

    def add(self, worker: int, iteration: int, text: str) -> None:
        """A simtrace."""
        self.texts.setdefault(worker, {})[iteration] = text

    @property
    def workers(self) -> set[int]:
        """All of which there is something."""
        return {*self.rows, *self.texts}

    def together(self) -> list[TrainingRow]:
        """The rows as one worker would have written them; times are those of each worker's own clock. An evaluation
        stands behind the iteration that it follows."""
        if len(self.workers) < 2:
            return next(iter(self.rows.values()), [])
        placed = self._placed()
        by_number: dict[int, list[tuple[int, TrainingRow]]] = {}
        for worker, rows in self.rows.items():
            for row in rows:
                if row.phase == "training" and (episode := placed.get((worker, row.episode - 1))):
                    by_number.setdefault(episode.iteration, []).append((episode.number, row))
        evaluated = [found for rows in [self.rows.get(0, [])] for found in by_iteration(rows)[1]]
        found: list[TrainingRow] = []
        for iteration, its in sorted(by_number.items()):
            its.sort(key=lambda it: it[0])
            found += [replace(row, episode=number + 1, trial=trial) for trial, (number, row) in enumerate(its, 1)]
            after = found[-1]
            checks = evaluated[iteration] if iteration < len(evaluated) else []
            found += [replace(row, episode=after.episode, trial=after.trial) for row in checks]
        return found

    def files(self) -> dict[int, str]:
        """A simtrace for each iteration, with the episodes of all workers."""
        placed = self._placed()
        found: dict[int, list[tuple[int, int, str]]] = {}
        headers: dict[int, str] = {}
        for worker, texts in self.texts.items():
            for iteration, text in texts.items():
                header, *lines = text.splitlines() or [""]
                if headers.setdefault(iteration, header) != header:
                    continue
                column = header.split(",").index("episode") if "episode" in header.split(",") else 0
                for place, line in enumerate(lines):
                    cells = line.split(",")
                    own = cells[column] if column < len(cells) else ""
                    episode = placed.get((worker, int(own))) if own.isdigit() and len(own) < 10 else None
                    if episode is not None:
                        cells[column] = str(episode.number)
                        found.setdefault(iteration, []).append((episode.number, place, ",".join(cells)))
        return {
            iteration: "\n".join([headers[iteration], *(line for _, _, line in sorted(lines))]) + "\n"
            for iteration, lines in found.items()
        }

    def _placed(self) -> dict[tuple[int, int], Episode]:
        """(worker, its own number) -> the episode, counted together."""
        traces: dict[int, dict[int, list[Trace]]] = {
            worker: {iteration: read_csv(text, "simtrace")[0] for iteration, text in texts.items()}
            for worker, texts in self.texts.items()
        }
        return {(it.worker or 0, it.own_number): it for it in training_of(self.rows, traces)}


# --- A model that was trained elsewhere becomes a run -----------------------------------------------------------------

REWARDS = (artifacts.REWARD_FUNCTION, "custom_files/reward_function.py", "custom_files/reward.py")
HYPERPARAMETERS = (artifacts.HYPERPARAMETERS, "hyperparameters.json", "custom_files/hyperparameters.json")
PARAMS = (artifacts.TRAINING_PARAMS, "training_params_1.yaml")
"""The second where deepracer-for-cloud's workers had several configurations."""
TRAINING_METRICS = r"training_metrics\.json|(.*/)?TrainingMetrics.*\.json|(.*/)?metrics/training/.+\.json"
EVALUATION_METRICS = r"evaluation_metrics\.json|(.*/)?EvaluationMetrics.*\.json|(.*/)?metrics/evaluation/.+\.json"
"""Where our runs and the guidance's, DeepRacer-for-Cloud and the console's downloads have them."""
_SIMTRACE_KEYS = {
    "training": artifacts.training_simtrace,
    "training_evaluation": artifacts.training_evaluation_simtrace,
    "evaluation": artifacts.evaluation_simtrace,
}


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """The run that was made, and in words what is missing and what that prevents."""

    name: str
    checkpoints: list[str]
    notes: list[str]


def import_model(
    source: str,
    name: str | None = None,
    track: str | None = None,
    reward: Path | None = None,
    metadata: Path | None = None,
    hyperparameters: Path | None = None,
) -> ImportedModel:
    """Make runs/NAME of a model's folder or archive; all of it is there at the end, or nothing.

    The other arguments stand in for what the folder lacks. InputError or CheckpointError name the file that is missing
    or of no use.
    """
    model = model_folder(source)
    name = name or run_name_of(source)
    check_run_name(name, "NAME")
    with workspace().locked(RUNS_PREFIX + name) as target:
        if target.list(""):
            raise InputError(
                "run",
                name,
                f"an import makes a new run, and {target.where()} exists",
                "give another name: undercut import FOLDER NAME",
            )
        with staged(target) as store:
            if artifacts.RUN_CONFIG in model.keys:
                return _copied_run(model, name, store)
            return _Import(model, name, store).run(track, reward, metadata, hyperparameters)


def run_name_of(source: str) -> str:
    """A run's name made of a path's last part."""
    last = source.rstrip("/").rpartition("/")[2] if source.startswith(S3) else Path(source).resolve().name
    for suffix in (".gz", ".tgz", ".tar", ".zip"):
        last = last.removesuffix(suffix)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:64] or "imported"


def _copied_run(model: ModelFolder, name: str, store: LocalStore) -> ImportedModel:
    """A run of this toolkit, file by file."""
    where = f"{model.where}/{artifacts.RUN_CONFIG}"
    config = RunConfig.from_json(text_of(model.files.get(artifacts.RUN_CONFIG), where), where)
    for key in model.keys:
        if key != artifacts.RUN_CONFIG:
            own = artifacts.car_bundle(name) if key == artifacts.car_bundle(config.name) else key
            store.put(own, model.files.get(key))
    files = RacerFiles.of(store)
    checkpoints = Checkpoints(store)
    found = [record for record in (checkpoints.best(), checkpoints.last()) if record is not None]
    for record in found:
        checkpoints.load(record)
    Run(config.model_copy(update={"name": name}), files, store).write_config({})
    return ImportedModel(name, sorted({record.name for record in found}), [f"it was run {config.name}"])


class _Import:
    """The import of a model in the console's layout."""

    def __init__(self, model: ModelFolder, name: str, store: LocalStore) -> None:
        self._model, self._name, self._store = model, name, store
        self._notes: list[str] = []

    def run(
        self, track: str | None, reward: Path | None, metadata: Path | None, hyperparameters: Path | None
    ) -> ImportedModel:
        """Write everything; the options are those of import_model."""
        sources = self._sources(override=metadata is not None)
        with TemporaryDirectory() as folder, self._as_in_model(Path(folder)):
            given = Path(folder)
            meta = metadata or self._placed(given, "model_metadata.json", self._metadata())
            with self._noting_warnings(folder):
                model = ModelMetadata.load(meta, strict=False)
            hyper = self._placed(given, "hyperparameters.json", self._hyperparameters(model.algorithm, hyperparameters))
            own_reward = self._model.read(*REWARDS)
            if own_reward is None and reward is None:
                self._lacks(
                    "reward_function.py", f"training goes on with {DEFAULT_REWARD.name} unless you give --reward"
                )
            reward = reward or (
                DEFAULT_REWARD if own_reward is None else self._placed(given, "reward_function.py", own_reward)
            )
            params = self._params(track)
            own_preset = self._model.read(artifacts.PRESET)
            preset = None if own_preset is None else self._placed(given, artifacts.PRESET, own_preset)
            config = self._config(params, track, sources[-1])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)  # they are noted already
                made = Run.create(config, reward, meta, hyper, params.carried, self._store, preset)
        rows = self._metrics(made.config.training.best_model_metric)
        self._checkpoints(made, sources, rows)
        return ImportedModel(
            self._name, [artifacts.checkpoint_name(source.iteration, source.steps) for source in sources], self._notes
        )

    def _sources(self, override: bool) -> list[Pretrained]:
        """The best and the last checkpoint, in the order of their iterations, the last one last."""
        last = self._model.load("last")
        sources = [last]
        try:
            best = self._model.load("best")
        except CheckpointError as error:
            self._notes.append(f"only its last checkpoint is here: {str(error).splitlines()[0]}")
        else:
            if best.iteration < last.iteration:
                sources.insert(0, best)
            elif best.where != last.where:
                self._notes.append(f"its best checkpoint {best.where} is later than its last one and left out")
        if last.policy_pb is not None:
            self._lacks("checkpoint", "evaluate drives its frozen policy; training begins with a new value network")
        # a metadata file from the command line takes the place of the model's own
        return [replace(source, metadata=None) for source in sources] if override else sources

    def _metadata(self) -> bytes:
        found = self._model.metadata()
        if found is None:
            rule = "a model's sensors and actions are in its model_metadata.json; without it nothing can drive"
            raise InputError(self._model.where, "no model_metadata.json", rule, "give it with --metadata")
        return found[1]

    def _hyperparameters(self, algorithm: str, given: Path | None) -> bytes:
        """Those from the command line, or else the model's, in our form."""
        if given is not None:
            with self._noting_warnings():
                return Hyperparameters.load(given, algorithm, strict=False).to_json().encode()
        content = self._model.read(*HYPERPARAMETERS)
        if content is None:
            self._lacks(
                "ip/hyperparameters.json", "training goes on with the defaults unless you give --hyperparameters"
            )
            return DEFAULT_HYPERPARAMETERS.read_bytes()
        where = f"{self._model.where}/{artifacts.HYPERPARAMETERS}"
        with self._noting_warnings():
            return Hyperparameters.parse(text_of(content, where), where, algorithm, strict=False).to_json().encode()

    def _params(self, track: str | None) -> RunParams:
        content = self._model.read(*PARAMS)
        if content is None:
            if track is None:
                self._lacks(
                    "training_params.yaml",
                    "its track and race are not known: paddock, time trial, unless you give --track",
                )
            return RunParams({})
        with self._noting_warnings():
            where = f"{self._model.where}/{artifacts.TRAINING_PARAMS}"
            return read_training_params(text_of(content, where), where, strict=False)

    def _config(self, params: RunParams, track: str | None, last: Pretrained) -> RunConfig:
        """With limits that leave as much training as a new run has."""
        values = params.over(RunConfig(name=self._name).model_dump()) | {"name": self._name}
        if track is not None:
            values["track"] = track
        values["training"]["max_iterations"] += last.iteration + 1
        values["training"]["max_steps"] += last.steps
        return RunConfig.build(values, self._model.where)

    def _metrics(self, best_model_metric: str) -> list[TrainingRow]:
        workers, keys = self._workers_files(), self._model.keys
        by_worker: dict[int, list[str]] = {}
        for key in keys:
            if re.fullmatch(TRAINING_METRICS, key):
                by_worker.setdefault(worker_of_metrics(key, keys), []).append(key)
        for worker, its in sorted(by_worker.items()):
            if content := self._readable(its, parse_training_metrics):
                workers.rows[worker] = parse_training_metrics(content, "training metrics")
        rows = workers.together()
        if not rows:
            self._lacks("training metrics", "they and the training plot begin with the next iteration")
        if len(workers.workers) > 1:
            self._notes.append(f"the episodes of {len(workers.workers)} workers are numbered one after the other")
        self._store.put(artifacts.TRAINING_METRICS, training_metrics_json(rows, best_model_metric).encode())
        self._simtraces(workers)
        evaluations = [key for key in keys if re.fullmatch(EVALUATION_METRICS, key)]
        if content := self._readable(evaluations, parse_evaluation_metrics):
            self._store.put(artifacts.EVALUATION_METRICS, content.encode())
        return rows

    def _readable(self, keys: Sequence[str], parse: Callable[[str, str], object]) -> str | None:
        """Text of the newest of a kind's metrics files; None, with a note, when it cannot be read."""
        if not keys:
            return None
        try:
            text = text_of(self._model.files.get(keys[-1]), keys[-1])
            parse(text, keys[-1])
        except InputError as error:
            self._notes.append(f"left out, since it cannot be read: {str(error).splitlines()[0]}")
            return None
        return text

    def _workers_files(self) -> WorkersFiles:
        """The training's simtraces of each worker."""
        workers = WorkersFiles()
        for key in self._model.keys:
            read = artifacts.parse_any_simtrace(key)
            if read and read[0] == "training":
                text = self._model.files.get(key).decode("utf-8-sig", errors="replace")
                workers.add(worker_of_trace(key), read[1], text)
        return workers

    def _simtraces(self, workers: WorkersFiles) -> None:
        """All simtraces: those of several workers as one file for each iteration, the others as they are."""
        found = 0
        for key in self._model.keys:
            if read := artifacts.parse_any_simtrace(key):
                found += 1
                kind, iteration = read
                if kind != "training" or len(workers.workers) < 2:
                    self._store.put(_SIMTRACE_KEYS[kind](iteration), self._model.files.get(key))
        if len(workers.workers) > 1:
            for iteration, text in workers.files().items():
                self._store.put(artifacts.training_simtrace(iteration), text.encode())
        if not found:
            self._lacks("simtraces", "what it drove so far cannot be analysed")

    def _checkpoints(self, made: Run, sources: list[Pretrained], rows: list[TrainingRow]) -> None:
        files = made.files
        config = made.config
        agent = make_agent(files.metadata, files.hyperparameters, config.seed, config.threads or None, made.preset)
        checkpoints = Checkpoints(self._store)
        notes: list[str] = []
        for source in sources:
            notes = _loaded(agent, source, files.metadata)
            policy = agent.export()
            episodes = (source.iteration + 1) * files.hyperparameters.num_episodes_between_training
            progress = Progress(source.iteration + 1, episodes, source.steps)
            if source is sources[-1] and rows:
                ended_s = max(row.metric_time for row in rows) / 1000.0
                progress = replace(progress, episodes=max(row.episode for row in rows), simulated_s=ended_s)
            metric = source.avg_eval_metric or 0.0
            checkpoints.save(source.iteration, source.steps, agent.save(), policy, metric, asdict(progress))
        self._notes += notes
        best = checkpoints.best()
        if best is not None:
            policy = what_drives(checkpoints.load_policy(best))
            bundle = car_bundle(policy, files.metadata.complete_json().encode())
            self._store.put(artifacts.car_bundle(self._name), bundle)

    def _lacks(self, what: str, prevents: str) -> None:
        self._notes.append(f"no {what}: {prevents}")

    def _placed(self, folder: Path, name: str, content: bytes) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    @contextmanager
    def _as_in_model(self, folder: Path) -> Iterator[None]:
        """Errors name the model's files, not their copies."""
        try:
            yield
        except InputError as error:
            where = error.where.replace(str(folder), self._model.where)
            raise InputError(where, error.value, error.rule, error.fix) from None

    @contextmanager
    def _noting_warnings(self, folder: str = "") -> Iterator[None]:
        """What racers' files are warned of becomes notes; `folder` holds copies of the model's files."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        messages = [str(warning.message) for warning in caught if issubclass(warning.category, InputWarning)]
        self._notes += [text.replace(folder, self._model.where) if folder else text for text in messages]


def _loaded(agent: Learner, source: Pretrained, metadata: ModelMetadata) -> list[str]:
    """Give the agent a checkpoint, whole where it is one of this toolkit, else its weights; notes in words."""
    try:
        agent.restore(source.files)
    except CheckpointError:
        return [
            *begin_from(source, agent, metadata, remap=False),
            "no optimiser's state: training begins with a new one",
        ]
    return []
