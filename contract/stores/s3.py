"""A prefix of a bucket as an object store: AWS S3, or any endpoint that boto3 is pointed to, such as MinIO."""

import contextlib
import copy
import hashlib
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar

import boto3
import botocore.exceptions as aws
from botocore.config import Config
from botocore.parsers import ResponseParserError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from contract.errors import InputError, StoreError
from contract.host import S3Address
from contract.stores.keys import key_parts
from contract.stores.lease import Lease, LeaseTimes
from contract.stores.s3_errors import Request, code_of, explained, is_absent, transient, waited

PATIENCE_S = 120.0
"""How long a request is tried again while the endpoint is away or busy."""
CONNECT_S, READ_S = 5.0, 30.0
PART_BYTES = 8 * 2**20
"""Larger objects go up in parts of this size: after a broken connection only one part is sent again."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


def s3_client() -> Any:
    """boto3's client by its own settings (AWS_ENDPOINT_URL_S3, AWS_PROFILE, ...), without retries of its own.

    InputError when those settings cannot be used.
    """
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "read_timeout": READ_S,
        "retries": {"total_max_attempts": 1},
    }
    try:
        session = boto3.session.Session()
        region = session.region_name or "us-east-1"
        client = session.client("s3", region_name=region, config=Config(**options))
        if ".amazonaws.com" in client.meta.endpoint_url:
            return client
        options["s3"] = {"addressing_style": "path"}  # a bucket of MinIO has no host name of its own
        return session.client("s3", region_name=region, config=Config(**options))
    except (aws.BotoCoreError, ValueError) as error:
        fix = "correct AWS_PROFILE, AWS_CONFIG_FILE or AWS_ENDPOINT_URL_S3 (http://host:9000)"
        raise InputError("S3 settings", str(error), "boto3 can use its settings", fix) from None


class S3Store:
    """ObjectStore and Place in a bucket. Requests that fail for a reason that passes are tried again for `patience_s`.

    Every content goes up with its SHA-256, which the server checks, and is checked when it comes down.
    """

    def __init__(
        self,
        address: S3Address,
        *,
        client: Any = None,
        patience_s: float = PATIENCE_S,
        lease_times: LeaseTimes | None = None,
    ) -> None:
        self.address, self._patience_s = address, patience_s
        self._lease_times = lease_times or LeaseTimes()
        self.client = client or s3_client()
        self._fence: Callable[[], None] | None = None

    def put(self, key: str, data: bytes) -> None:
        name = self._name(key)
        if len(data) > PART_BYTES:
            try:
                self._put_parts(name, data)
            except _LostUploadError:  # the server forgot it, or the answer to its last request was lost
                self._put_parts(name, data)
        else:
            self._ask("write", name, lambda: self._put(name, data), len(data))

    def put_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        """Put only where the key still has this ETag, with None only where it is absent. The new ETag, or None when
        the condition does not hold.

        When an answer is lost on its way the request is sent again, and None may then mean that the first one counted.
        """
        name = self._name(key)
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}

        def put() -> str | None:
            try:
                return str(self._put(name, data, **condition)["ETag"])
            except aws.ClientError as error:
                if code_of(error) in ("PreconditionFailed", "412") or (etag is not None and is_absent(error)):
                    return None
                raise

        return self._ask("write", name, put, len(data))

    def get(self, key: str) -> bytes:
        return self.get_tagged(key)[0]

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """Content and ETag; KeyError when absent."""
        name = self._name(key)

        def get() -> tuple[bytes, str]:
            answer = self.client.get_object(Bucket=self.address.bucket, Key=name, ChecksumMode="ENABLED")
            with contextlib.closing(answer["Body"]) as body:
                return body.read(), str(answer["ETag"])

        try:
            return self._ask("read", name, get)
        except _AbsentError:
            raise KeyError(key) from None

    def exists(self, key: str) -> bool:
        return self._entry(key) is not None

    def list(self, prefix: str) -> Sequence[str]:
        return sorted(entry["Key"].removeprefix(self._below) for entry in self._listed(prefix, "Contents"))

    def delete(self, key: str) -> None:
        name = self._name(key)
        self._ask("delete", name, lambda: self.client.delete_object(Bucket=self.address.bucket, Key=name))

    def where(self, key: str = "") -> str:
        return str(self.address.below(key))

    def below(self, path: str) -> Self:
        key_parts(path)
        other = copy.copy(self)
        other.address = self.address.below(path)
        return other

    @contextlib.contextmanager
    def locked(self, path: str, takeover: bool = False) -> Iterator[Self]:
        place, (folder, _, name) = self.below(path), path.rpartition("/")
        beside = self.below(folder) if folder else self
        hasty = copy.copy(beside)
        hasty._patience_s = 0.0
        lease = Lease(beside, hasty, f".{name}.lock", place.where(), self._lease_times)
        place._fence = lease.check
        with lease.taken(takeover):
            yield place

    def folders(self, prefix: str) -> Sequence[str]:
        found = self._listed(prefix, "CommonPrefixes", Delimiter="/")
        return sorted(entry["Prefix"].rstrip("/").rpartition("/")[2] for entry in found)

    def size(self, key: str) -> int:
        entry = self._entry(key)
        if entry is None:
            raise KeyError(key)
        return int(entry["Size"])

    def modified_s(self, key: str) -> float:
        entry = self._entry(key)
        if entry is None:
            raise KeyError(key)
        return float(entry["LastModified"].timestamp())

    @property
    def _below(self) -> str:
        """What all keys of this place begin with."""
        return f"{self.address.prefix}/" if self.address.prefix else ""

    def _name(self, key: str) -> str:
        """The whole key in the bucket."""
        key_parts(key)
        return self.address.below(key).prefix

    def _entry(self, key: str) -> dict[str, Any] | None:
        """What a listing says of a key. HEAD would not tell a missing bucket or right from a missing key."""
        name = self._name(key)
        answer = self._list(name, MaxKeys=1)
        first: list[dict[str, Any]] = answer.get("Contents", [])
        return first[0] if first and first[0]["Key"] == name else None

    def _listed(self, prefix: str, what: str, **options: Any) -> Sequence[dict[str, Any]]:
        """All Contents or CommonPrefixes below a prefix of this place."""
        if "/" in prefix:
            key_parts(prefix.rpartition("/")[0])
        found, more = [], dict[str, Any]()
        while True:
            answer = self._list(self._below + prefix, **options, **more)
            found += answer.get(what, [])
            if not answer.get("IsTruncated"):
                return found
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def _list(self, prefix: str, **options: Any) -> dict[str, Any]:
        return self._ask(
            "list",
            prefix,
            lambda: self.client.list_objects_v2(Bucket=self.address.bucket, Prefix=prefix, **options),
        )

    def _put(self, name: str, data: bytes, **condition: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.put_object(
            Bucket=self.address.bucket,
            Key=name,
            Body=data,
            ChecksumSHA256=_sha256(data),
            **_content_type(name),
            **condition,
        )
        return answer

    def _put_parts(self, name: str, data: bytes) -> None:
        """The object is there, whole, when the last request is answered; until then the key holds what it held."""
        client, place = self.client, {"Bucket": self.address.bucket, "Key": name}

        def ask(request: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            return self._ask("write", name, request, len(data))

        begun = ask(lambda: client.create_multipart_upload(**place, **_content_type(name), ChecksumAlgorithm="SHA256"))
        upload = {**place, "UploadId": begun["UploadId"]}
        try:
            parts = []
            for number, start in enumerate(range(0, len(data), PART_BYTES), 1):
                part = data[start : start + PART_BYTES]
                sent = {"PartNumber": number, "ChecksumSHA256": _sha256(part)}
                answer = ask(lambda: client.upload_part(**upload, **sent, Body=part))  # noqa: B023 - called at once
                parts.append({**sent, "ETag": answer["ETag"]})
            ask(lambda: client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}))
        except BaseException:
            with contextlib.suppress(aws.BotoCoreError, aws.ClientError):
                client.abort_multipart_upload(**upload)
            raise

    def _ask(self, verb: str, name: str, ask: Callable[[], _T], size: int = 0) -> _T:
        """The answer to a request; asked again while it fails for a reason that passes, until patience ends."""
        request = Request(verb, name, self.address, self.client.meta.endpoint_url, size)

        def attempt() -> _T:
            if self._fence is not None and verb in ("write", "delete"):
                self._fence()
            try:
                return ask()
            except (aws.BotoCoreError, aws.ClientError, ResponseParserError) as error:
                if (why := transient(error)) is not None:
                    raise _PassingError(why) from error
                if verb == "read" and is_absent(error):
                    raise _AbsentError from None
                lost = code_of(error) == "NoSuchUpload"
                raise (_LostUploadError(str(error)) if lost else explained(error, request)) from error

        def tell(state: RetryCallState) -> None:
            if state.attempt_number == 1:  # somebody may be looking on and wonder
                why = state.outcome.exception() if state.outcome else None
                _log.warning("cannot %s: %s; trying again for %g s", request, why, self._patience_s)

        retrying = Retrying(
            retry=retry_if_exception_type(_PassingError),
            wait=wait_exponential(_FIRST_PAUSE_S, _LONGEST_PAUSE_S),
            stop=stop_after_delay(self._patience_s),
            before_sleep=tell,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _PassingError as error:
            raise waited(request, str(error), self._patience_s) from error.__cause__


class _LostUploadError(StoreError):
    """The server does not know the upload of an object in parts."""


class _PassingError(StoreError):
    """The request failed for a reason that passes."""


class _AbsentError(StoreError):
    """There is no such key."""


def _content_type(name: str) -> dict[str, str]:
    """What a browser that opens pages and videos in the bucket has to be told."""
    kind = {"html": "text/html; charset=utf-8", "mp4": "video/mp4", "png": "image/png"}.get(name.rpartition(".")[2])
    return {} if kind is None else {"ContentType": kind}


def _sha256(data: bytes) -> str:
    return b64encode(hashlib.sha256(data).digest()).decode()
