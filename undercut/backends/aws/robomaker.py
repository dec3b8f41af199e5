"""Launcher: simulators as RoboMaker simulation jobs next to a SageMaker trainer, as AWS's guidance has it.

AWS ended RoboMaker on 2025-09-10; AWS_ENDPOINT_URL_ROBOMAKER names an endpoint that speaks its API. boto3 has dropped
the service; what of its API is used here stands in models/robomaker.
"""

import os
from collections.abc import Sequence
from typing import Any

from contract import artifacts
from contract.host import STORE
from undercut.backends.aws.batch import WORKER
from undercut.backends.aws.jobs import TAG, Capabilities, Images, JobRecord, LogSource
from undercut.backends.aws.plan import JobPlan
from undercut.backends.aws.resources import Resources
from undercut.backends.aws.sagemaker import SageMakerLauncher
from undercut.backends.aws.session import CloudError
from undercut.backends.aws.settings import LauncherName

ENDPOINT = "AWS_ENDPOINT_URL_ROBOMAKER"
LOG_GROUP = "/aws/robomaker/SimulationJobs"
ABSENT = ("ResourceNotFoundException",)
EXISTS = ("ResourceAlreadyExistsException", "ResourceInUseException")
RETENTION_HOURS = 24
_OVER = ("Completed", "Failed", "Terminated", "Canceled", "Terminating")
_REFUSALS = (
    *("EndpointConnectionError", "ConnectTimeoutError", "AccessDeniedException", "UnrecognizedClientException"),
    *("ServiceUnavailableException", "UnknownOperationException", "UnknownEndpointError", "404", "410"),
)


class RoboMakerLauncher(SageMakerLauncher):
    """A training job of one machine and simulation jobs, each with a Kinesis Video stream of its own as in the
    guidance."""

    name: LauncherName = "robomaker"
    can = Capabilities(
        works=("train",), spot=False, simulators=(1, 20), needs=("subnets", "security_groups"), longest_s=14 * 24 * 3600
    )

    def launch(self, record: JobRecord, resources: Resources, images: Images) -> JobRecord:
        plan = record.plan
        application = self._asked("CreateSimulationApplication", **application_of(plan, images))
        self._trained(record, resources, images, rollouts="redis")
        try:
            for number in range(plan.groups[-1].count):
                stream = stream_name(plan, number)
                self._session.call(
                    "kinesisvideo",
                    "CreateStream",
                    StreamName=stream,
                    MediaType="video/h264",
                    DataRetentionInHours=RETENTION_HOURS,
                    absent=EXISTS,
                )
                asked = simulation_of(plan, resources, str(application["arn"]), number)
                job = self._asked("CreateSimulationJob", **asked)
                record = record.changed(others=(*record.others, str(job["arn"])))
        except BaseException:
            self.stop(record)
            raise
        return record.changed(launched=True)

    def stop(self, record: JobRecord) -> None:
        """Also what the jobs were made with: streams and the simulation application."""
        super().stop(record)
        for job in record.others:
            told = self._asked("DescribeSimulationJob", job=job, absent=ABSENT)
            if told and told["status"] not in _OVER:
                self._asked("CancelSimulationJob", job=job, absent=ABSENT)
        self.tidy(record)

    def tidy(self, record: JobRecord) -> None:
        for number in range(record.plan.streams):
            stream = self._session.call(
                "kinesisvideo", "DescribeStream", StreamName=stream_name(record.plan, number), absent=ABSENT
            )
            if stream:
                arn = stream["StreamInfo"]["StreamARN"]
                self._session.call("kinesisvideo", "DeleteStream", StreamARN=arn, absent=ABSENT)
        for one in self._asked("ListSimulationApplications").get("simulationApplicationSummaries", []):
            if one.get("name") == record.job:
                self._asked("DeleteSimulationApplication", application=one["arn"], absent=ABSENT)

    def logs(self, record: JobRecord) -> Sequence[LogSource]:
        ids = [arn.rpartition("/")[2] for arn in record.others]
        return [*super().logs(record), *(LogSource(LOG_GROUP, f"{one}/", f"simulator {one}") for one in ids)]

    def _asked(self, operation: str, *, absent: tuple[str, ...] = (), **values: Any) -> dict[str, Any]:
        """RoboMaker's answer; CloudError that says of its end when AWS's own endpoint refuses."""
        try:
            return self._session.call("robomaker", operation, absent=absent, **values)
        except CloudError as error:
            if ENDPOINT in os.environ or error.code not in _REFUSALS:
                raise
            raise CloudError(
                f"robomaker:{operation} was refused: {error.code}",
                "AWS ended RoboMaker on 2025-09-10; this launcher is for endpoints that speak its API",
                f"take --launcher sagemaker or batch, or name such an endpoint in {ENDPOINT}",
                "EndOfService",
            ) from None


def stream_name(plan: JobPlan, number: int) -> str:
    """Of a simulator's Kinesis Video stream, as the guidance has it."""
    return f"dr-kvs-{plan.job}-{number}"


def application_of(plan: JobPlan, images: Images) -> dict[str, Any]:
    """CreateSimulationApplication's request."""
    return {
        "name": plan.job,
        "environment": {"uri": images.simapp},
        "simulationSoftwareSuite": {"name": "SimulationRuntime"},
        "robotSoftwareSuite": {"name": "General"},
        "tags": {TAG: plan.runs[0]},
    }


def simulation_of(plan: JobPlan, resources: Resources, application: str, number: int) -> dict[str, Any]:
    """CreateSimulationJob's request, with the guidance's variables beside the ones that our simulator reads."""
    prefix = resources.run_prefix(plan.runs[0])
    variables = {
        "S3_YAML_NAME": artifacts.TRAINING_PARAMS,
        "SAGEMAKER_SHARED_S3_PREFIX": prefix,
        "SAGEMAKER_SHARED_S3_BUCKET": resources.bucket,
        "KINESIS_VIDEO_STREAM_NAME": stream_name(plan, number),
        "APP_REGION": plan.region,
        "MODEL_METADATA_FILE_S3_KEY": f"{prefix}/{artifacts.MODEL_METADATA}",
        "ROLLOUT_IDX": str(number),
        STORE: str(resources.address),
        "AWS_REGION": plan.region,
        "TRAINING_JOB_NAME": plan.job,
    }
    return {
        "clientRequestToken": f"{plan.job[-58:]}-{number}",
        "outputLocation": {"s3Bucket": resources.bucket, "s3Prefix": prefix},
        "maxJobDurationInSeconds": plan.max_runtime_s,
        "iamRole": resources.role_arn,
        "failureBehavior": "Fail",
        "simulationApplications": [
            {
                "application": application,
                "applicationVersion": "$LATEST",
                "launchConfig": {
                    "command": list(WORKER),
                    "environmentVariables": variables,
                    "streamUI": False,
                },
                "uploadConfigurations": [
                    {"name": "simulator-logs", "path": "/tmp/undercut-logs/**", "uploadBehavior": "UPLOAD_ON_TERMINATE"}
                ],
                "useDefaultUploadConfigurations": False,
                "tools": [
                    {
                        "streamUI": False,
                        "name": "load",
                        "command": "while sleep 60; do cat /proc/loadavg; done",
                        "streamOutputToCloudWatch": True,
                        "exitBehavior": "RESTART",
                    }
                ],
                "useDefaultTools": False,
            }
        ],
        "vpcConfig": {
            "subnets": list(resources.subnets),
            "securityGroups": list(resources.security_groups),
            "assignPublicIp": True,
        },
        "tags": {TAG: plan.runs[0]},
    }
