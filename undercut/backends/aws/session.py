"""AWS's API: one way to call it, with retries, time-outs, and errors in words. Credentials are found by boto3."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions as aws
import botocore.parsers as parsers
from botocore.config import Config

from contract.errors import InputError, UndercutError
from undercut.backends.aws.settings import CloudSettings

ATTEMPTS = 8
"""Of a request that is throttled or does not get through, with longer and longer pauses (botocore's standard rules)."""
CONNECT_S, READ_S = 5.0, 60.0
DEFAULT_REGION = "us-east-1"
MODELS = Path(__file__).parent / "models"
"""Services that botocore has no model of any more."""
THROTTLED = (
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
)
QUOTA = ("ResourceLimitExceeded", "LimitExceededException", "ServiceQuotaExceededException", "LimitExceeded")
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
UNKNOWN = (
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthFailure",
)
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException")


class CloudError(UndercutError):
    """The cloud did not do what was asked. `code` is AWS's name of the error, where it has one, `action` is
    "service:operation"."""

    def __init__(self, what: str, rule: str, fix: str, code: str = "", action: str = "") -> None:
        self.code, self.action = code, action
        super().__init__(what, rule, fix)


class CloudSession:
    """AWS of one region, by boto3's settings and `settings`."""

    def __init__(self, settings: CloudSettings, region: str = "") -> None:
        self.settings = settings
        try:
            self._session = boto3.session.Session()
            self._session._loader.search_paths.append(str(MODELS))
            self.region = region or settings.region or self._session.region_name or DEFAULT_REGION
        except (aws.BotoCoreError, ValueError) as error:
            raise explained(error, "sts", "GetCallerIdentity") from None
        self._clients: dict[str, Any] = {}

    def boto(self) -> Any:
        """A boto3 session of this region, for libraries that take one."""
        return boto3.session.Session(region_name=self.region)

    def client(self, service: str) -> Any:
        """boto3's client; CloudError when its settings cannot be used."""
        if service not in self._clients:
            config = Config(
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                user_agent_extra="undercut",
            )
            try:
                self._clients[service] = self._session.client(service, region_name=self.region, config=config)
            except (aws.BotoCoreError, ValueError) as error:
                raise explained(error, service, "") from None
        return self._clients[service]

    def call(self, service: str, operation: str, *, absent: tuple[str, ...] = (), **request: Any) -> dict[str, Any]:
        """AWS's answer to an operation such as "DescribeStacks"; CloudError in words. An error whose code or message
        has one of the `absent` words means that there is no such thing: {} then."""
        client = self.client(service)
        try:
            answer: dict[str, Any] = getattr(client, _method(operation))(**request)
        except _AWS_ERRORS as error:
            if _says(error, absent):
                return {}
            raise explained(error, service, operation) from None
        return answer

    @lru_cache  # noqa: B019 - a session lives as long as the command
    def account(self) -> str:
        """The account's number; InputError when the settings want another one."""
        found = str(self.call("sts", "GetCallerIdentity")["Account"])
        if self.settings.account and found != self.settings.account:
            rule = f"jobs run in account {self.settings.account} only, by the setting account"
            raise InputError("AWS account", found, rule, "take that account's credentials (AWS_PROFILE), or correct it")
        return found

    def everything(
        self, service: str, operation: str, key: str, *, absent: tuple[str, ...] = (), **request: Any
    ) -> list[dict[str, Any]]:
        """All items of a list operation, page after page; none where an error has one of the `absent` words."""
        try:
            pages = self.client(service).get_paginator(_method(operation)).paginate(**request)
            return [item for page in pages for item in page.get(key, [])]
        except _AWS_ERRORS as error:
            if _says(error, absent):
                return []
            raise explained(error, service, operation) from None


_AWS_ERRORS = (aws.ClientError, aws.BotoCoreError, parsers.ResponseParserError, ValueError)


def _says(error: Exception, words: tuple[str, ...]) -> bool:
    """Whether code or message of AWS's answer has one of the words."""
    told = error.response.get("Error", {}) if isinstance(error, aws.ClientError) else {}
    return any(word in f"{told.get('Code')} {told.get('Message')}" for word in words)


def _method(operation: str) -> str:
    """CreateTrainingJob -> create_training_job."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower()


def explained(error: Exception, service: str, operation: str) -> CloudError:
    """The error in words: what was asked, what AWS said, what to do."""
    response: Mapping[str, Any] = error.response if isinstance(error, aws.ClientError) else {}
    code = str(response.get("Error", {}).get("Code", "")) or type(error).__name__
    said = str(response.get("Error", {}).get("Message", "")) or str(error)
    asked = f"{service}:{operation}" if operation else service
    what = f"{asked} failed: {code}: {said.strip()}"

    if code in DENIED:
        action, resource = _denied(said, asked)
        rule = f"the credentials need {action}" + (f" on {resource}" if resource else "")
        fix = "add it to the user's or role's policy: `undercut cloud up --plan` shows what a racer needs"
    elif isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError | aws.CredentialRetrievalError):
        rule, fix = "boto3 finds credentials", "`aws configure sso` or `aws configure`, or set AWS_PROFILE; then again"
    elif code in EXPIRED or isinstance(error, aws.UnauthorizedSSOTokenError | aws.SSOTokenLoadError):
        rule, fix = "temporary credentials are still valid", "fetch new ones (`aws sso login`), then the same command"
    elif code in UNKNOWN:
        rule, fix = "AWS knows the access key", "correct AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif code in THROTTLED:
        rule = f"so many requests a second as AWS allows; it was asked {ATTEMPTS} times with longer and longer pauses"
        fix = "give the same command again in a minute"
    elif code in QUOTA:
        rule = "the account's quota allows it"
        fix = "ask for more in AWS's Service Quotas console, take another --instance-type, or stop what runs"
    elif isinstance(error, aws.EndpointConnectionError | aws.ConnectTimeoutError | aws.ConnectionClosedError):
        rule, fix = "AWS can be reached from here", "see the network, AWS_ENDPOINT_URL, and the region's name"
    elif isinstance(error, parsers.ResponseParserError):
        rule = "AWS answers, and not a proxy or another server at that address"
        fix = "see AWS_ENDPOINT_URL and HTTPS_PROXY, and the network that you are in; open a page of AWS in a browser"
    elif isinstance(error, aws.ProfileNotFound):
        rule, fix = "AWS_PROFILE names a profile of ~/.aws/config", "correct it, or unset AWS_PROFILE"
    elif isinstance(error, aws.ParamValidationError):
        rule, fix = "the request fits AWS's own model of it", "correct the setting that the message names"
    elif isinstance(error, aws.UnknownServiceError | aws.UnknownEndpointError | aws.InvalidRegionError):
        rule, fix = "the service exists in this region", "correct --region"
    else:
        rule, fix = "AWS does what it is asked", "see the message"
    return CloudError(what, rule, fix, code, asked)


def _denied(said: str, asked: str) -> tuple[str, str]:
    """The permission that is missing and on what, as AWS's message names them."""
    action = re.search(r"not authorized to perform:? (\w[\w-]*:\w+)", said)
    resource = re.search(r"on resource:? (\S+)", said)
    return (action[1] if action else asked), (resource[1].rstrip(".,") if resource else "")
