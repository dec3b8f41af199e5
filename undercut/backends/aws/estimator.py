"""`undercut.aws.estimator`: a run as an Estimator of SageMaker's Python SDK, for notebooks built around one."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from contract.errors import UndercutError
from undercut.backends.aws import images, launching, resources
from undercut.backends.aws.launchers import launcher
from undercut.backends.aws.sagemaker import request
from undercut.backends.aws.session import CloudSession
from undercut.backends.aws.settings import CloudSettings
from undercut.runs.run import Run

if TYPE_CHECKING:
    from sagemaker.estimator import Estimator

NO_TELEMETRY = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
"""In place of the SDK's files of defaults, which would change the request besides."""


def estimator(
    run: str | Run, *, local: bool = False, say: Callable[[str], None] = print, **settings: Any
) -> "Estimator":
    """The run as a `sagemaker.estimator.Estimator` of version 2, configured as `undercut cloud train` launches it:
    checked, estimated, with its files in the bucket and its image in the registry. Nothing runs until its `fit()`.

        from undercut.aws import estimator
        job = estimator("mine", instance_type="ml.c6i.4xlarge", spot=True, max_cost=2)
        job.fit(wait=False)                            # undercut cloud watch JOB follows it and brings its files

    run       of this folder or of the bucket
    local     the SDK's local mode: the trainer's image on this machine's Docker engine, with the run in the bucket
    say       hears what is done meanwhile, and what the job costs at most
    settings  of cloud.yaml, which they go before

    Raises InputError for what cannot be launched, CloudError for what AWS refuses, UndercutError without the SDK.
    """
    try:
        from sagemaker.estimator import Estimator
        from sagemaker.instance_group import InstanceGroup
        from sagemaker.local import LocalSession
        from sagemaker.session import Session
    except ImportError as error:
        raise UndercutError(
            f"SageMaker's Python SDK of version 2 is not here: {error}",
            fix="in an environment of its own: pip install 'undercut[sagemaker]'; version 3 has no Estimator",
        ) from None

    chosen = CloudSettings.load(settings)
    session = CloudSession(chosen)
    name = run if isinstance(run, str) else run.config.name
    plan = launching.plan_of(chosen, session.region, "train", [name])
    if local:
        there = resources.find(session)
        launching.bring([name], there)
        image = chosen.trainer_image or images.built("trainer", False, say).name
        plan = dataclasses.replace(plan, spot=False)
    else:
        ready = launching.prepared(session, plan, launcher(session, "sagemaker"), say)
        plan, there, image = ready.plan, ready.there, ready.images.trainer
    told = arguments(request(plan, there, image))
    if local:
        told |= {"instance_type": "local", "instance_count": 1}
        made = LocalSession(boto_session=session.boto(), default_bucket=there.bucket, sagemaker_config=NO_TELEMETRY)
    else:
        made = Session(boto_session=session.boto(), default_bucket=there.bucket, sagemaker_config=NO_TELEMETRY)
        if "instance_groups" in told:
            told["instance_groups"] = [InstanceGroup(*group) for group in told["instance_groups"]]
    found: Estimator = Estimator(sagemaker_session=made, **told)
    return found


def arguments(request: Mapping[str, Any]) -> dict[str, Any]:
    """CreateTrainingJob's request as the Estimator's arguments; "instance_groups" as (name, type, count)."""
    machines, stopping = request["ResourceConfig"], request["StoppingCondition"]
    output, network = request["OutputDataConfig"], request.get("VpcConfig", {})
    checkpoints = request.get("CheckpointConfig", {})
    told: dict[str, Any] = {
        "image_uri": request["AlgorithmSpecification"]["TrainingImage"],
        "input_mode": request["AlgorithmSpecification"]["TrainingInputMode"],
        "metric_definitions": request["AlgorithmSpecification"]["MetricDefinitions"],
        "role": request["RoleArn"],
        "base_job_name": request["TrainingJobName"].rpartition("-")[0].rpartition("-")[0].rpartition("-")[0],
        "hyperparameters": request["HyperParameters"],
        "environment": request["Environment"],
        "tags": request["Tags"],
        "output_path": output["S3OutputPath"],
        "output_kms_key": output.get("KmsKeyId"),
        "volume_size": machines["VolumeSizeInGB"],
        "volume_kms_key": machines.get("VolumeKmsKeyId"),
        "keep_alive_period_in_seconds": machines.get("KeepAlivePeriodInSeconds"),
        "max_run": stopping["MaxRuntimeInSeconds"],
        "max_wait": stopping.get("MaxWaitTimeInSeconds"),
        "use_spot_instances": request["EnableManagedSpotTraining"],
        "checkpoint_s3_uri": checkpoints.get("S3Uri"),
        "checkpoint_local_path": checkpoints.get("LocalPath"),
        "encrypt_inter_container_traffic": request["EnableInterContainerTrafficEncryption"],
        "subnets": network.get("Subnets"),
        "security_group_ids": network.get("SecurityGroupIds"),
        "enable_remote_debug": request.get("RemoteDebugConfig", {}).get("EnableRemoteDebug"),
        # the SDK would add a profiler and a debugger of its own
        "disable_profiler": True,
        "debugger_hook_config": False,
    }
    if "InstanceGroups" in machines:
        keys = ("InstanceGroupName", "InstanceType", "InstanceCount")
        told["instance_groups"] = [tuple(group[key] for key in keys) for group in machines["InstanceGroups"]]
    else:
        told |= {"instance_type": machines["InstanceType"], "instance_count": machines["InstanceCount"]}
    return told
