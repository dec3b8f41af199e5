"""AWS on this machine for tests: moto's server over real HTTP, with what moto lacks (StopTrainingJob, service jobs of
Batch, RoboMaker) and with faults that a test asks for. Its training jobs run as processes in folders laid out like
SageMaker's /opt/ml.

moto is imported where it is used: that takes a second and a half, and few tests of the default suite have a server.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
from botocore.loaders import JSONFileLoader
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from tests.patience import PATIENCE_S

_descriptions: dict[str, Any] = {}
_read_description = JSONFileLoader.load_file


def _described(loader: JSONFileLoader, path: str) -> Any:
    """A service's description is megabytes of JSON, which each session of boto3 would read anew."""
    if path not in _descriptions:
        found = _read_description(loader, path)
        if found is None:
            return None
        _descriptions[path] = found
    return _descriptions[path]


JSONFileLoader.load_file = _described

ACCOUNT, REGION = "123456789012", "us-east-1"
BUCKET, ROLE = "undercut-runs", f"arn:aws:iam::{ACCOUNT}:role/undercut-job"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass
class Fault:
    """An operation's answer instead of AWS's own, so many times; `after` lets the operation happen first."""

    code: str
    message: str = "by the test"
    status: int = 400
    times: int = 1
    after: bool = False
    hook: Callable[[], None] | None = None
    page: str = ""
    """What a proxy answers in its place."""


@dataclass
class AwsServer:
    """Use as a context. `calls` are the operations that were asked for, with their requests where they are JSON."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    started: Callable[[dict[str, Any]], None] | None = None
    """Called with CreateTrainingJob's request."""
    stopped: Callable[[str], None] | None = None
    robomaker: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Simulation jobs and applications by ARN."""
    service_jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of Batch, by id, as DescribeServiceJob has them."""
    has_room: bool = True
    """Whether Batch begins a service job that it looks at."""
    _clients: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> "AwsServer":
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app

        class Quiet(MotoRequestHandler):
            def log_request(self, *_: Any) -> None:
                return

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.client("s3").create_bucket(Bucket=BUCKET)
        self.client("iam").create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument="{}")
        self.allow("runs", ["s3:ListBucket", "s3:*Object"], [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"])
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            import urllib.request

            reset = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
            urllib.request.urlopen(reset, timeout=30).read()
        self._server.shutdown()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self) -> dict[str, str]:
        """What boto3 and `undercut cloud` have to be told; nothing else of AWS is taken from this machine."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "UNDERCUT_CLOUD_BUCKET": BUCKET,
            "UNDERCUT_CLOUD_ROLE_ARN": ROLE,
            "UNDERCUT_CLOUD_TRAINER_IMAGE": f"{REGISTRY}/undercut-trainer@sha256:{'0' * 64}",
            "UNDERCUT_CLOUD_SIMAPP_IMAGE": f"{REGISTRY}/undercut-simapp@sha256:{'0' * 64}",
            "UNDERCUT_CLOUD_POLL_S": "0.1",
        }

    def client(self, service: str) -> Any:
        if service not in self._clients:  # each reads its service's whole description
            keys = {"aws_access_key_id": "AKIATESTTESTTESTTEST", "aws_secret_access_key": "secret-of-the-test"}
            self._clients[service] = boto3.client(service, region_name=REGION, endpoint_url=self.endpoint, **keys)
        return self._clients[service]

    def allow(self, name: str, actions: list[str], resources: list[str]) -> None:
        """Give the jobs' role a policy."""
        statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client("iam").put_role_policy(RoleName=ROLE.rpartition("/")[2], PolicyName=name, PolicyDocument=document)

    def asked(self, operation: str) -> list[dict[str, Any]]:
        """The requests of an operation so far."""
        return [request for name, request in self.calls if name == operation]

    def job(self, name: str) -> Any:
        """moto's own training job, whose attributes are what DescribeTrainingJob answers."""
        return _training_jobs()[name]

    def say(self, job: str, host: str, lines: list[str], started: int = 1) -> None:
        """Put lines into the job's log; each time that its machine is started has a stream of its own."""
        logs = self.client("logs")
        stream = f"{job}/{host}-{1764000000 + 600 * started}"
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=LOG_GROUP)
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line or " "} for line in lines]
        if events:
            logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        operation, body = _operation(request)
        if operation:
            self.calls.append((operation, body))
        if operation == "DeleteStack":
            _retain_on_delete()
        fault = self.faults.get(operation)
        if fault is not None:
            if fault.after:
                self._real(environ, operation, body)
            fault.times -= 1
            if fault.times <= 0:
                del self.faults[operation]
            if fault.hook is not None:
                fault.hook()
            return _error(operation, fault)(environ, start_response)
        if operation in _ROBOMAKER:
            return self._robomaker(operation, body)(environ, start_response)
        if operation in _SERVICE_JOBS:
            return self._service_job(operation, body)(environ, start_response)
        if operation == "SimulatePrincipalPolicy":
            return _simulated(body)(environ, start_response)
        if operation == "StopTrainingJob":
            return self._stop(body)(environ, start_response)
        answer = self._moto(environ, start_response)
        if operation == "CreateTrainingJob":
            answer = [b"".join(answer)]
            self._began(body)
        return answer

    def _real(self, environ: dict[str, Any], operation: str, body: dict[str, Any]) -> None:
        b"".join(self._moto(environ, lambda *_: None))
        if operation == "CreateTrainingJob":
            self._began(body)

    def _began(self, body: dict[str, Any]) -> None:
        with contextlib.suppress(KeyError):  # moto refused it
            job = self.job(body["TrainingJobName"])
            job.training_job_status, job.secondary_status = "InProgress", "Starting"
            job.training_end_time = None
            if self.started is not None:
                self.started(body)

    def _stop(self, body: dict[str, Any]) -> Response:
        name = body["TrainingJobName"]
        jobs = _training_jobs()
        if name not in jobs:
            return _json({"__type": "ValidationException", "message": "Requested resource not found."}, 400)
        if jobs[name].training_job_status != "InProgress":
            said = f"The request was rejected because the training job is in status {jobs[name].training_job_status}."
            return _json({"__type": "ValidationException", "message": said}, 400)
        jobs[name].training_job_status = jobs[name].secondary_status = "Stopping"
        if self.stopped is not None:
            self.stopped(name)
        else:
            jobs[name].training_job_status = jobs[name].secondary_status = "Stopped"
        return _json({})

    def _service_job(self, operation: str, body: dict[str, Any]) -> Response:
        if operation == "Submitservicejob":
            known = next((one for one in self.service_jobs.values() if one["token"] == body["clientToken"]), None)
            made = known or {**body, "jobId": str(uuid.uuid4()), "status": "RUNNABLE", "startedAt": 0}
            made |= {"token": made.pop("clientToken", body["clientToken"]), "attempts": made.get("attempts", [])}
            self.service_jobs[made["jobId"]] = made
            return _json({"jobName": made["jobName"], "jobId": made["jobId"]})
        if operation == "Listservicejobs":
            (names,) = (one["values"] for one in body["filters"] if one["name"] == "JOB_NAME")
            found = [one for one in self.service_jobs.values() if one["jobName"] in names]
            keys = ("jobId", "jobName", "serviceJobType", "status")
            return _json({"jobSummaryList": [{key: one[key] for key in keys} for one in found]})
        job = self.service_jobs.get(body["jobId"])
        if job is None:
            return _json({"message": f"Service job {body['jobId']} not found"}, 400, "ClientException")
        if operation == "Terminateservicejob":
            job["isTerminated"] = True
            if job["attempts"]:
                self._stop({"TrainingJobName": job["attempts"][-1]["serviceResourceId"]["value"].rpartition("/")[2]})
            else:
                job["status"] = "FAILED"
        self._look_at(job)
        return _json(job if operation == "Describeservicejob" else {})

    def _look_at(self, job: dict[str, Any]) -> None:
        """What Batch does with a service job: begins it, begins it again by its retry strategy, and takes its status
        from that of the last try's training job."""
        words = {"InProgress": "RUNNING", "Stopping": "RUNNING", "Completed": "SUCCEEDED"}
        if job["attempts"]:
            made = self.job(job["attempts"][-1]["serviceResourceId"]["value"].rpartition("/")[2])
            job["status"] = words.get(made.training_job_status, "FAILED")
            job["statusReason"] = (
                f"Received status from SageMaker: {getattr(made, 'failure_reason', made.training_job_status)}"
            )
        rules = job["retryStrategy"]["evaluateOnExit"]
        rule = next((one for one in rules if fnmatch(job.get("statusReason", ""), one["onStatusReason"])), None)
        again = job["status"] == "FAILED" and rule is not None and rule["action"] == "RETRY"
        again &= len(job["attempts"]) < job["retryStrategy"]["attempts"] and not job.get("isTerminated")
        if self.has_room and (job["status"] == "RUNNABLE" or again):
            asked = json.loads(job["serviceRequestPayload"])
            # as in Batch's guide, "Getting started with AWS Batch on SageMaker AI"; a name has 63 characters at most
            asked["TrainingJobName"] = f"AWSBatch{asked['TrainingJobName']}"[:31] + uuid.uuid4().hex
            arn = self.client("sagemaker").create_training_job(**asked)["TrainingJobArn"]
            job["attempts"] = [*job["attempts"], {"serviceResourceId": {"name": "TrainingJobArn", "value": arn}}]
            job["status"] = "STARTING"

    def _robomaker(self, operation: str, body: dict[str, Any]) -> Response:
        if operation == "ListSimulationApplications":
            rows = [one for one in self.robomaker.values() if "status" not in one]
            return _json({"simulationApplicationSummaries": [{"name": one["name"], "arn": one["arn"]} for one in rows]})
        if operation.startswith("Create"):
            kind = "simulation-application" if operation.endswith("Application") else "simulation-job"
            arn = f"arn:aws:robomaker:{REGION}:{ACCOUNT}:{kind}/sim-{uuid.uuid4().hex[:12]}"
            self.robomaker[arn] = {
                **body,
                "arn": arn,
                **({} if kind.endswith("application") else {"status": "Running"}),
            }
            return _json(self.robomaker[arn])
        arn = body.get("job") or body["application"]
        if arn not in self.robomaker:
            return _json({"message": "no such thing"}, 404, "ResourceNotFoundException")
        if operation == "CancelSimulationJob":
            self.robomaker[arn]["status"] = "Canceled"
        if operation == "DeleteSimulationApplication":
            del self.robomaker[arn]
            return _json({})
        return _json({key: self.robomaker[arn][key] for key in ("arn", "status")})


_SERVICE_JOBS = ("Submitservicejob", "Describeservicejob", "Listservicejobs", "Terminateservicejob")
_ROBOMAKER = (
    *("CreateSimulationApplication", "CreateSimulationJob", "DescribeSimulationJob", "CancelSimulationJob"),
    *("DeleteSimulationApplication", "ListSimulationApplications"),
)


def _training_jobs() -> Any:
    from moto.sagemaker.models import sagemaker_backends

    return sagemaker_backends[ACCOUNT][REGION].training_jobs


def _retain_on_delete() -> None:
    """moto does not know RetainExceptOnCreate, which is Retain for a stack that was made whole."""
    from moto.cloudformation.models import cloudformation_backends

    for backend in cloudformation_backends[ACCOUNT].values():
        for stack in backend.stacks.values():
            for told in stack.resource_map._resource_json_map.values():
                if told.get("DeletionPolicy") == "RetainExceptOnCreate":
                    told["DeletionPolicy"] = "Retain"


def _simulated(body: dict[str, Any]) -> Response:
    """What IAM's simulation answers, by moto's evaluator of policies."""
    from moto.iam.access_control import IAMPolicy, PermissionResult
    from moto.iam.models import iam_backends

    roles = iam_backends[ACCOUNT]["aws"].roles.values()
    role = next((one for one in roles if one.arn == body["PolicySourceArn"]), None)
    if role is None:
        told = "<Error><Code>NoSuchEntity</Code><Message>no such role</Message></Error>"
        return Response(f"<ErrorResponse>{told}</ErrorResponse>", 404, mimetype="text/xml")
    documents = [one if isinstance(one, str) else json.dumps(one) for one in role.policies.values()]
    policies = [IAMPolicy(text) for text in documents]
    policies += [IAMPolicy(policy) for policy in role.managed_policies.values()]
    resource, rows = body.get("ResourceArns.member.1", "*"), ""
    for key, action in body.items():
        if key.startswith("ActionNames.member."):
            found = {policy.is_action_permitted(action, resource) for policy in policies}
            allowed = PermissionResult.PERMITTED in found and PermissionResult.DENIED not in found
            decision = "allowed" if allowed else "implicitDeny"
            row = f"<EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision>"
            rows += f"<member>{row}</member>"
    result = (
        f"<SimulatePrincipalPolicyResult><EvaluationResults>{rows}</EvaluationResults></SimulatePrincipalPolicyResult>"
    )
    return Response(f"<SimulatePrincipalPolicyResponse>{result}</SimulatePrincipalPolicyResponse>", mimetype="text/xml")


def _operation(request: Request) -> tuple[str, dict[str, Any]]:
    """The operation's name and, where it is not S3's, the request."""
    signed = request.headers.get("Authorization", "")
    if "/s3/" in signed or not signed:
        return "", {}
    text = request.get_data()
    request.environ["wsgi.input"] = io.BytesIO(text)  # for moto to read again
    if request.mimetype == "application/x-www-form-urlencoded":
        form: dict[str, Any] = {key: values[0] for key, values in parse_qs(text.decode()).items()}
        return form.get("Action", ""), form
    target = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
    name = request.path.strip("/").rpartition("/")[2]
    return target or name[:1].upper() + name[1:], json.loads(text or b"{}")


def _json(body: dict[str, Any], status: int = 200, code: str = "") -> Response:
    headers = {"x-amzn-ErrorType": code} if code else {}
    return Response(json.dumps(body), status, headers, mimetype="application/x-amz-json-1.1")


def _error(operation: str, fault: Fault) -> Response:
    if fault.page:
        return Response(fault.page, 200, mimetype="text/html")
    if operation in ("GetCallerIdentity", "DescribeStacks", "SimulatePrincipalPolicy", "DescribeSubnets"):
        text = (
            f"<ErrorResponse><Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error></ErrorResponse>"
        )
        return Response(text, fault.status, mimetype="text/xml")
    return _json({"__type": fault.code, "message": fault.message}, fault.status, fault.code)


class SageMaker:
    """Runs the server's training jobs: each machine of a job is a process with a folder laid out like /opt/ml."""

    def __init__(
        self,
        server: AwsServer,
        folder: Path,
        hosts: tuple[str, ...] = ("algo-1",),
        interruptions: int = 0,
        taken_at: str = "Training iteration=1",
    ) -> None:
        """So often the machines are taken back, once the log has a line with `taken_at` (the iteration before is saved
        then), and the job is begun again."""
        self.server, self.folder, self.hosts, self._interruptions = server, folder, hosts, interruptions
        self._taken_at = taken_at
        self.begun = 0
        self.processes: list[subprocess.Popen[str]] = []
        self.threads: list[threading.Thread] = []
        server.started, server.stopped = self.start, self.stop

    def start(self, request: dict[str, Any]) -> None:
        thread = threading.Thread(target=self._run, args=(request,), daemon=True)
        self.threads.append(thread)
        thread.start()

    def stop(self, _: str) -> None:
        for process in self.processes:
            process.terminate()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"the job does not end in {PATIENCE_S:g} s"

    def ml(self, job: str, host: str) -> Path:
        return self.folder / job / host

    def _run(self, request: dict[str, Any]) -> None:
        name = request["TrainingJobName"]
        job = self.server.job(name)
        job.secondary_status = "Training"
        job.training_start_time = datetime.now(UTC)
        statuses = self._tries(request)
        while self._interruptions > 0:
            self._interruptions -= 1
            job.secondary_status = "Interrupted"
            statuses = self._tries(request)
        job.training_end_time = datetime.now(UTC)
        seconds = max(int((job.training_end_time - job.training_start_time).total_seconds()), 1)
        job.training_time_in_seconds = job.billable_time_in_seconds = seconds
        failure = self.ml(name, self.hosts[0]) / "output" / "failure"
        if job.training_job_status == "Stopping":
            job.training_job_status = job.secondary_status = "Stopped"
        elif any(statuses):
            said = failure.read_text() if failure.exists() else ""
            job.failure_reason = f"AlgorithmError: {said}, exit code: {max(statuses)}"
            job.training_job_status = job.secondary_status = "Failed"
        else:
            job.training_job_status = job.secondary_status = "Completed"

    def _tries(self, request: dict[str, Any]) -> list[int]:
        """The exit codes of the job's machines."""
        self.begun += 1
        name = request["TrainingJobName"]
        self.processes = [self._process(request, host) for host in self.hosts]
        readers = [
            threading.Thread(target=self._copy_log, args=(name, host, process))
            for host, process in zip(self.hosts, self.processes, strict=True)
        ]
        for reader in readers:
            reader.start()
        while any(process.poll() is None for process in self.processes):
            if any(process.poll() for process in self.processes):  # one machine that fails ends the job
                self.stop("")
            time.sleep(0.2)
        for reader in readers:
            reader.join()
        return [process.wait() for process in self.processes]

    def _process(self, request: dict[str, Any], host: str) -> "subprocess.Popen[str]":
        base = self.ml(request["TrainingJobName"], host)
        for name in ("input/config", "input/data", "model", "output/data"):
            (base / name).mkdir(parents=True, exist_ok=True)
        resources: dict[str, Any] = {"current_host": host, "hosts": list(self.hosts), "network_interface_name": "lo"}
        groups = request["ResourceConfig"].get("InstanceGroups")
        if groups:
            left = list(self.hosts)
            resources["instance_groups"] = [
                {
                    "instance_group_name": group["InstanceGroupName"],
                    "instance_type": group["InstanceType"],
                    "hosts": [left.pop(0) for _ in range(group["InstanceCount"])],
                }
                for group in groups
            ]
        (base / "input/config/hyperparameters.json").write_text(json.dumps(request["HyperParameters"]))
        (base / "input/config/resourceconfig.json").write_text(json.dumps(resources))
        (base / "input/config/inputdataconfig.json").write_text("{}")
        program = (
            "import sys; from pathlib import Path; from undercut.backends.aws.job_run import Folders; "
            "from undercut.backends.aws.sagemaker_job import main; sys.argv = ['undercut-job', 'train']; "
            f"main(Folders(Path({str(base)!r})))"
        )
        return subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            env=self.environment(request),
            cwd=base,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def environment(self, request: dict[str, Any]) -> dict[str, str]:
        """Exactly what the launcher sets, SageMaker's own variables, and where AWS is."""
        own = {name: value for name, value in self.server.environment().items() if not name.startswith("UNDERCUT_")}
        plain = {name: os.environ[name] for name in ("PATH", "HOME", "NUMBA_CACHE_DIR") if name in os.environ}
        return {**plain, **own, **request["Environment"], "TRAINING_JOB_NAME": request["TrainingJobName"]}

    def _copy_log(self, name: str, host: str, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.server.say(name, host, [line.rstrip("\n")], self.begun)
            if self._interruptions > 0 and self.begun == 1 and self._taken_at in line:
                self.stop("")


@contextlib.contextmanager
def aws() -> Iterator[AwsServer]:
    """A fresh AWS."""
    with AwsServer() as server:
        yield server
