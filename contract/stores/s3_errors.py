"""What an S3 endpoint's errors mean: which pass by themselves, and what a person has to do about the others."""

import email.utils
import time
from dataclasses import dataclass
from typing import Any

import botocore.exceptions as aws

from contract.errors import StoreError
from contract.host import S3Address

TRANSIENT_CODES = frozenset(
    {
        *("InternalError", "ServiceUnavailable", "SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout"),
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "OperationAborted"),
        *("ConditionalRequestConflict", "BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody"),
        *("XMinioServerNotInitialized", "XMinioIAMNotInitialized", "XMinioReadQuorum", "XMinioWriteQuorum"),
    }
)
TRANSIENT_STATUSES = frozenset({429, 500, 502, 503, 504})
_DROPPED = (
    *(aws.ConnectionClosedError, aws.ConnectTimeoutError, aws.ReadTimeoutError, aws.ResponseStreamingError),
    *(aws.IncompleteReadError, aws.EndpointConnectionError, aws.ProxyConnectionError),
)
_FULL = ("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for: `verb` is read, write, delete or list; `key` is the whole key in the bucket."""

    verb: str
    key: str
    address: S3Address
    endpoint: str
    size: int = 0

    @property
    def permission(self) -> str:
        action = {"read": "GetObject", "write": "PutObject", "delete": "DeleteObject"}.get(self.verb)
        listing = f"s3:ListBucket on arn:aws:s3:::{self.address.bucket}"
        own = f"{self.address.prefix}/*" if self.address.prefix else "*"
        return f"s3:{action} on arn:aws:s3:::{self.address.bucket}/{own}, and {listing}" if action else listing

    def __str__(self) -> str:
        what = (
            f"the {self.size:,} bytes of key"
            if self.verb == "write"
            else "keys below"
            if self.verb == "list"
            else "key"
        )
        return f"{self.verb} {what} {self.key!r} in bucket {self.address.bucket!r} at {self.endpoint}"


def code_of(error: Exception) -> str:
    """S3's name of the error, or the HTTP status, or the exception's own name."""
    if isinstance(error, aws.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def is_absent(error: Exception) -> bool:
    """Whether there is no such key. A bare 404 says nothing: the bucket may be missing, or the server none of S3."""
    return code_of(error) == "NoSuchKey"


def transient(error: Exception) -> str | None:
    """In words, why the request failed, if the reason is one of the named ones that pass by themselves."""
    if isinstance(error, aws.ClientError):
        code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in _FULL or not (code in TRANSIENT_CODES or status in TRANSIENT_STATUSES):
            return None
        return f"it answers {code}" + (f" (HTTP {status})" if status else "")
    if isinstance(error, aws.SSLError):
        text = str(error).upper()
        return None if "CERTIFICATE" in text or "WRONG_VERSION" in text else "the encrypted connection broke"
    if isinstance(error, _DROPPED):
        return " ".join(str(error).split())[:200]
    return None


def waited(request: Request, why: str, patience_s: float) -> StoreError:
    """The error of a request that did not get through in time."""
    return StoreError(
        f"cannot {request}\n"
        f"  waited: {patience_s:g} s for the endpoint; the last try: {why}\n"
        f"  kept: everything that was put before",
        fix="see that the server runs and can be reached from here, then give the same command again",
    )


def explained(error: Exception, request: Request) -> StoreError:
    """The error of a request that would fail again."""
    code = code_of(error)
    bucket, endpoint = request.address.bucket, request.endpoint
    why = str(error.response.get("Error", {}).get("Message", "")) if isinstance(error, aws.ClientError) else str(error)
    if code in ("AccessDenied", "403", "AllAccessDisabled", "AccountProblem"):
        rule, fix = f"the credentials need {request.permission}", "add it to the user's or role's policy"
    elif code == "NoSuchBucket":
        rule = "the bucket exists; it is never made behind your back"
        fix = f"make it: aws s3 mb s3://{bucket} --endpoint-url {endpoint}; or correct the name in UNDERCUT_STORE"
    elif code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "401"):
        rule = f"access key and secret are those of a user of {endpoint}"
        fix = "correct AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif code in ("ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException"):
        rule, fix = "temporary credentials are still valid", "fetch new ones, then give the same command again"
    elif code in ("RequestTimeTooSkewed", "RequestExpired"):
        rule = f"this machine's clock is within 15 minutes of the server's{_skew(error)}"
        fix = "set the clock (timedatectl set-ntp true), in a virtual machine also after it slept"
    elif code in _FULL:
        rule = "there is room on the server's disk"
        fix = "make room or raise the quota (old runs are the first to go); the run goes on where it was"
    elif code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
        rule, fix = "requests go to the bucket's own region", "set AWS_REGION to that of the bucket"
    elif code in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        rule = "boto3 finds an access key and its secret"
        fix = "set AWS_SHARED_CREDENTIALS_FILE or AWS_PROFILE, or run where a role gives credentials"
    elif code == "NotImplemented":
        rule = "the endpoint knows what is asked of it, conditional writes among it"
        fix = "use MinIO, AWS S3 or another endpoint that has If-None-Match"
    elif isinstance(error, aws.SSLError):
        rule = "the server's certificate is trusted here"
        fix = "name its authority in AWS_CA_BUNDLE, or correct https:// in AWS_ENDPOINT_URL_S3"
    elif code == "ResponseParserError" or code.isdigit():
        rule = "what answers there speaks S3"
        fix = "correct AWS_ENDPOINT_URL_S3; MinIO's API and its console have a port each"
    else:
        rule, fix = "the endpoint does what it is asked", "see the server's log"
    kept = "\n  kept: what the key held before" if request.verb == "write" else ""
    return StoreError(f"cannot {request}: {code}, {why}{kept}", rule, fix)


def _skew(error: Exception) -> str:
    """How far the clocks are apart, by the answer's own date."""
    headers: dict[str, Any] = {}
    if isinstance(error, aws.ClientError):
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    server_time = email.utils.parsedate_to_datetime(headers["date"]) if "date" in headers else None
    if server_time is None:
        return ""
    off_s = time.time() - server_time.timestamp()
    return f"; it is {abs(off_s):,.0f} s {'ahead' if off_s > 0 else 'behind'}"
