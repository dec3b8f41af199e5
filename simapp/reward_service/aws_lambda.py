"""A reward by an AWS Lambda function: the only place that invokes one."""

import json
from typing import Any

import boto3
import botocore.exceptions as aws
from botocore.config import Config

from contract.errors import RewardError

MAX_REQUEST_BYTES = 6_291_456
"""Of a synchronous invocation (Lambda quotas)."""


class Function:
    """Invokes one function; endpoint, region and credentials are boto3's own unless `region` is given."""

    def __init__(self, name: str, region: str | None, timeout_s: float) -> None:
        self._name, self._timeout_s = name, timeout_s
        config = Config(
            connect_timeout=min(timeout_s, 10.0),
            read_timeout=timeout_s,
            retries={"total_max_attempts": 4, "mode": "standard"},
        )
        try:
            self._client = boto3.client("lambda", region_name=region, config=config)
        except (aws.BotoCoreError, ValueError) as error:
            raise self._failed(str(error), "set AWS_REGION or region, and a profile or role") from None

    def ask(self, line: bytes) -> bytes:
        """The function's answer as one line; RewardError names what is missing, or shows the function's traceback."""
        if len(line) > MAX_REQUEST_BYTES:
            fix = "train with fewer cars: --cars"
            raise self._failed(f"a request of {len(line):,} bytes; Lambda takes {MAX_REQUEST_BYTES:,}", fix)
        try:
            answer = self._client.invoke(FunctionName=self._name, InvocationType="RequestResponse", Payload=line)
            payload = answer["Payload"].read()
        except aws.ClientError as error:
            raise self._refused(error) from None
        except (aws.ReadTimeoutError, aws.ConnectTimeoutError):
            fix = "give it more memory or a longer timeout_s"
            raise self._failed(f"no answer for {self._timeout_s:g} s", fix) from None
        except aws.NoCredentialsError:
            raise self._failed("no credentials", "set AWS_PROFILE, or run where a role is") from None
        except (aws.BotoCoreError, aws.HTTPClientError) as error:
            raise self._failed(str(error), "check the network, AWS_ENDPOINT_URL_LAMBDA and the region") from None
        if answer.get("FunctionError"):
            raise self._failed(_trace(payload), "correct the function; its log group in CloudWatch has more")
        return bytes(payload).replace(b"\n", b" ") + b"\n"

    def close(self) -> None:
        self._client.close()

    def _refused(self, error: aws.ClientError) -> RewardError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        text = str(error.response.get("Error", {}).get("Message", ""))
        if code in ("AccessDeniedException", "AccessDenied"):
            fix = f"allow lambda:InvokeFunction on function {self._name} to the credentials"
        elif code == "ResourceNotFoundException":
            fix = f"check the function's name and the region ({self._client.meta.region_name})"
        elif code in ("TooManyRequestsException", "ThrottlingException"):
            fix = "raise the function's concurrency, or train with fewer workers"
        elif code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"):
            fix = "sign in again: the credentials are wrong or have expired"
        else:
            fix = "look the code up in Lambda's documentation of Invoke"
        return self._failed(f"{code}: {text}", fix)

    def _failed(self, what: str, fix: str) -> RewardError:
        rule = "the function answers every step"
        return RewardError(f"Lambda function {self._name}: {what}", rule, fix)


def _trace(payload: bytes) -> str:
    """What Lambda tells of a function's exception, as a traceback."""
    try:
        answer: Any = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")[:2000]
    if not isinstance(answer, dict):
        return str(answer)[:2000]
    trace = answer.get("stackTrace") or answer.get("trace") or []
    head = f"{answer.get('errorType', 'error')}: {answer.get('errorMessage', '')}"
    lines = [str(line).rstrip() for line in trace] if isinstance(trace, list) else [str(trace)]
    return "\n".join([head, *lines])[:4000]
