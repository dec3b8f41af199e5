"""Where a run begins from: another run, a model's folder or archive, or an S3 prefix; by option or hyperparameters."""

from pathlib import Path

from contract import artifacts
from contract.archive import Archive
from contract.config import RunConfig
from contract.errors import InputError
from contract.host import S3Address
from contract.hyperparameters import Hyperparameters
from contract.metadata import ModelMetadata
from contract.stores.local import LocalStore
from trainer.checkpoints import Checkpoints
from trainer.pretrained import Learner, ModelFolder, begin_from
from trainer.transfer import check_same_kind
from undercut.analysis.files import Unpacked, minio_folder
from undercut.runs import run as runs
from undercut.runs.workspace import bucket_place, run_place

S3 = "s3://"
RULE = "a run in runs/, a model's folder or .tar.gz, or s3://bucket/prefix"


def model_folder(source: str) -> ModelFolder:
    """The model that `source` names: a prefix of a bucket, else a run, else a path; InputError when there is none."""
    if source.startswith(S3):
        address = S3Address.parse(source, "pretrained")
        return ModelFolder(bucket_place(address), str(address))
    if runs.Run.exists(source):
        return ModelFolder(run_place(source), f"run {source}")
    path = Path(source)
    if path.is_file():
        return ModelFolder(Archive(path), source)
    if path.is_dir():
        store = LocalStore(path)
        try:
            return ModelFolder(store, source.rstrip("/"))
        except InputError:
            if objects := Unpacked(store).minio:
                raise minio_folder(objects, source) from None
            raise
    known = ", ".join(runs.run_names()) or "none yet"
    raise InputError("pretrained", source, RULE, f"check the name; runs here: {known}")


def settled(config: RunConfig, metadata: Path, hyperparameters: Path) -> RunConfig:
    """A new run's config with what its hyperparameters say about pretraining, once the pretrained model fits it."""
    model = ModelMetadata.load(metadata, strict=False)
    if not config.pretrained:
        pretrained = source_of(Hyperparameters.load(hyperparameters, model.algorithm, strict=False))
        config = config.model_copy(update={"pretrained": pretrained})
    if config.remap_actions and not config.pretrained:
        rule = "actions are remapped from those of a pretrained model"
        raise InputError("remap_actions", True, rule, "name the model, --pretrained RUN, or leave the option out")
    if config.pretrained:
        source = model_folder(config.pretrained).load(config.pretrained_checkpoint)
        if source.metadata is not None:
            check_same_kind(source.metadata, model, config.remap_actions, source.where)
    return config


def begin(run: runs.Run, agent: Learner) -> list[str]:
    """Give the agent of a run that has no checkpoint yet the pretrained weights that its config asks for; in words,
    what was taken. A resumed run has its own."""
    config = run.config
    if not config.pretrained or Checkpoints(run.store).last() is not None:
        return []
    source = model_folder(config.pretrained).load(config.pretrained_checkpoint)
    notes = begin_from(source, agent, run.files.metadata, config.remap_actions)
    return [f"pretrained: {source.where}", *(f"  {note}" for note in notes)]


def source_of(hyperparameters: Hyperparameters) -> str:
    """pretrained_s3_bucket and pretrained_s3_prefix as `--pretrained` has it: without a bucket, or with the bucket
    "local", the prefix is a run or a path. Empty where they ask for nothing."""
    bucket, prefix = hyperparameters.pretrained_s3_bucket, hyperparameters.pretrained_s3_prefix or ""
    if bucket and bucket != "local":
        return f"{S3}{bucket}/{prefix.strip('/')}"
    if bucket and not prefix:
        fix = "write the run's name or the model's folder"
        raise InputError(f"{artifacts.HYPERPARAMETERS}: pretrained_s3_prefix", prefix, RULE, fix)
    return prefix
