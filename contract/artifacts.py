"""Every key that a run writes, relative to the run's prefix; the one place where they are spelled (contract: files)."""

import re

MODEL_PREFIX = "model/"
COACH_CHECKPOINT = "model/.coach_checkpoint"
DEEPRACER_CHECKPOINTS = "model/deepracer_checkpoints.json"
MODEL_METADATA = "model/model_metadata.json"
HYPERPARAMETERS = "ip/hyperparameters.json"
REWARD_FUNCTION = "reward_function.py"
REWARD_FILES = "reward/"
REWARD_DESCRIPTION = "reward/reward.json"
"""Of a reward that is no Python file: how it is asked for, with the program's files beside it."""
PRESET = "preset.py"
REQUIREMENTS = "requirements/requirements.txt"
REQUIREMENTS_LOCK = "requirements/lock.txt"
REQUIREMENTS_WHEELS = "requirements/wheels/"
"""Packages that the reward function imports: as asked for, as found (versions and checksums), and local wheels."""
TRAINING_PARAMS = "training_params.yaml"
EVALUATION_PARAMS = "evaluation_params.yaml"
TRAINING_METRICS = "training_metrics.json"
EVALUATION_METRICS = "evaluation_metrics.json"

# Ours, beyond the contract.
RUN_CONFIG = "run.json"
ITERATIONS = "iterations.json"
TRAINING_PLOT = "training.png"
LAP_PLOT = "laps.png"
TRACKS_PREFIX = "tracks/"
DIAGNOSTICS = "diagnostics.csv"
TENSORBOARD_PREFIX = "tensorboard/"
INSPECT_SALIENCY = "inspect/saliency.png"
INSPECT_ACTIONS = "inspect/actions.png"
INSPECT_ACTION_USE = "inspect/action_use.png"
INSPECT_DIAGNOSTICS = "inspect/diagnostics.png"
INSPECT_VIDEO = "inspect/saliency.mp4"
REPORT = "report.html"
COMPARISON = "comparison.json"
COMPARISON_PLOT = "comparison.png"

BUNDLE_MODEL = "agent/model.pb"
BUNDLE_METADATA = "model_metadata.json"
"""Members of the car bundle, model.tar.gz."""

NUMBER = "[0-9]{1,15}"
"""Pattern of a number in a key: digits of other scripts would not come back, and thousands of digits are no number."""
_SIMTRACE = re.compile(
    rf"iteration-data/(training|evaluation)/(training|evaluation)-simtrace/({NUMBER})-iteration\.csv"
)
_CHECKPOINT_NAME = re.compile(rf"({NUMBER})_Step-({NUMBER})\.ckpt")


def checkpoint_name(iteration: int, steps: int) -> str:
    """Name of a checkpoint, for example "5_Step-1234.ckpt"; `steps` counts all environment steps so far."""
    return f"{iteration}_Step-{steps}.ckpt"


def parse_checkpoint_name(name: str) -> tuple[int, int] | None:
    """(iteration, steps) of a checkpoint's name, None when it is not one."""
    match = _CHECKPOINT_NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def checkpoint_file(name: str, suffix: str) -> str:
    """One file of a checkpoint; the suffix comes from the agent, for example "data-00000-of-00001"."""
    return f"{MODEL_PREFIX}{name}.{suffix}"


def checkpoint_manifest(name: str) -> str:
    """Sizes, checksums and run state of a checkpoint.

    It leaves ".ckpt" out of its name, since rl_coach takes any file that has it for part of a checkpoint.
    """
    return f"{MODEL_PREFIX}{name.removesuffix('.ckpt')}.manifest.json"


def parse_checkpoint_manifest(key: str) -> tuple[int, int] | None:
    """(iteration, steps) of a manifest's key, None when it is not one."""
    name = key.removeprefix(MODEL_PREFIX)
    if not name.endswith(".manifest.json"):
        return None
    return parse_checkpoint_name(name.removesuffix(".manifest.json") + ".ckpt")


def is_checkpoint_content(key: str) -> bool:
    """Whether a key is a checkpoint's own large file: a TensorFlow checkpoint file or a policy graph."""
    return re.fullmatch(rf"model/({NUMBER}_Step-{NUMBER}\.ckpt\..+|model_{NUMBER}\.pb)", key) is not None


def policy_graph(iteration: int) -> str:
    """The frozen policy graph of an iteration."""
    return f"{MODEL_PREFIX}model_{iteration}.pb"


def car_bundle(run: str) -> str:
    """The model.tar.gz that goes on a car; `run` stands where the contract has the SageMaker job's name."""
    return f"train-output/{run}/output/model.tar.gz"


def training_simtrace(iteration: int) -> str:
    """Steps of the episodes that an iteration trained on."""
    return f"iteration-data/training/training-simtrace/{iteration}-iteration.csv"


def training_evaluation_simtrace(iteration: int) -> str:
    """Steps of the evaluation episodes after an iteration of training."""
    return f"iteration-data/training/evaluation-simtrace/{iteration}-iteration.csv"


EVALUATION_DATA = "iteration-data/evaluation/"
"""Where what an evaluation drove lies."""


def evaluation_simtrace(iteration: int = 0) -> str:
    """Steps of an evaluation of a trained model."""
    return f"{EVALUATION_DATA}evaluation-simtrace/{iteration}-iteration.csv"


def evaluation_recording(iteration: int = 0) -> str:
    """What videos of an evaluation are drawn from: contract.recording."""
    return f"{EVALUATION_DATA}recording/{iteration}-iteration.rec"


def training_recording(iteration: int) -> str:
    """The same of the evaluation laps after an iteration of training."""
    return f"iteration-data/training/recording/{iteration}-iteration.rec"


VIDEO_END = "-video.mp4"
"""How the key of every MP4 of an evaluation, an iteration or a race ends."""


def video(phase: str, view: str, number: int = 0) -> str:
    """An MP4 of an evaluation, or of an iteration of training: `phase` is "evaluation" or "training"."""
    return f"iteration-data/{phase}/camera-{view}/{number}{VIDEO_END}"


def parse_simtrace(key: str) -> tuple[str, int] | None:
    """("training", "training_evaluation" or "evaluation", iteration) of a simtrace's key, None when it is not one."""
    found = _SIMTRACE.fullmatch(key)
    if found is None or (found[1], found[2]) == ("evaluation", "training"):
        return None
    return (found[1] if found[1] == found[2] else "training_evaluation"), int(found[3])


_ANY_SIMTRACE = re.compile(rf"(?:.*/)?({NUMBER})-iteration\.csv")


def parse_any_simtrace(key: str) -> tuple[str, int] | None:
    """The same of a key in any layout, ours, the console's or DeepRacer-for-Cloud's; a file outside of the usual
    folders is taken for training."""
    match = _ANY_SIMTRACE.fullmatch(key)
    if not match:
        return None
    folders = key.split("/")[:-1]
    if not folders or folders[-1] != "evaluation-simtrace":
        return "training", int(match[1])
    apart = any(folder.startswith(("evaluation", "leaderboard")) for folder in folders[-3:-1])
    return "evaluation" if apart else "training_evaluation", int(match[1])


def rescoring_plot(reward: str) -> str:
    """What a reward function, by its file's name, says of a run's old episodes."""
    return f"report/rescored-{reward}.png"


def report_folder(name: str) -> str:
    """Where reports of logs from elsewhere lie, beside `runs/`: nothing is written into a racer's own folders."""
    return f"reports/{name}"


FRAMES_PAGE, FRAMES_TABLE = "index.html", "frames.csv"


def frames_folder(source: str) -> str:
    """Page, table and pictures of what a run's policy makes of frames from elsewhere, by the source's name."""
    return f"frames/{source}"


def report_picture(name: str) -> str:
    """One picture of a report, beside it."""
    return f"report/{name}.png"


def training_log(iteration: int) -> str:
    """Log lines of an iteration in the form that CloudWatch metric filters of the guidance match."""
    return f"logs/training/{iteration}-iteration.log"


def parse_training_log(key: str) -> int | None:
    """The iteration of a training log's key, None when it is not one."""
    found = re.fullmatch(rf"logs/training/({NUMBER})-iteration\.log", key)
    return int(found[1]) if found else None


def samples(iteration: int) -> str:
    """What the hyperparameter max_sample_count asks to be kept of an iteration's steps."""
    return f"samples/{iteration}-iteration.npz"


def event_file(iteration: int) -> str:
    """TensorBoard's file of an iteration: TensorBoard asks for "tfevents" in the name and reads in their order."""
    return f"{TENSORBOARD_PREFIX}events.out.tfevents.{iteration:010d}.undercut"


def parse_event_file(key: str) -> int | None:
    """The iteration of an event file's key, None when it is not one."""
    match = re.fullmatch(r"tensorboard/events\.out\.tfevents\.([0-9]{10})\.undercut", key)
    return int(match[1]) if match else None


def own_track(name: str) -> str:
    """The route of a racer's own track, so that the run drives where only the run is; `name` without its folder."""
    return f"{TRACKS_PREFIX}{name}.npy"


def own_world(name: str) -> str:
    """The imported world that the track of that name lies in, with all that is seen of it, beside its route."""
    return f"{TRACKS_PREFIX}{name}.world.zip"


def race_metrics(race: str, racer: str) -> str:
    """Evaluation metrics of one racer of a race; keys of races are relative to the folder that holds `runs/`."""
    return f"{race_folder(race)}{racer}/{EVALUATION_METRICS}"


def race_simtrace(race: str, racer: str, iteration: int = 0) -> str:
    """Steps of one racer of a race."""
    return f"{race_folder(race)}{racer}/{evaluation_simtrace(iteration)}"


def race_recording(race: str) -> str:
    """What videos of a race are drawn from: all its racers, contract.recording."""
    return f"{race_folder(race)}race.rec"


def race_video(race: str, racer: str, view: str) -> str:
    """An MP4 of one racer of a race."""
    return f"{race_folder(race)}{racer}/{video('evaluation', view)}"


def race_result(race: str) -> str:
    """The result table of a race."""
    return f"{race_folder(race)}result.json"


def race_params(race: str) -> str:
    """The race as the guidance's head-to-head or tournament job would be told."""
    return f"{race_folder(race)}race_params.yaml"


def race_plot(race: str, racer: str) -> str:
    """Laps of one racer of a race."""
    return f"{race_folder(race)}{racer}/{LAP_PLOT}"


def race_folder(race: str) -> str:
    """Where everything of a race lies, beside `runs/`."""
    return f"races/{race}/"
