"""DeepRacer on AWS by its own API: models there, a run brought there, and a model submitted to a race.

The API is the one of its website: operations and shapes in models/deepracer are those of its published Smithy model.
"""

import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import botocore.exceptions as aws
from botocore.config import Config
from botocore.parsers import ResponseParserError

from contract.errors import InputError
from contract.fields import suggestion
from undercut.interchange.droa_login import DroaError, Login, fresh
from undercut.interchange.layouts import MAX_IMPORT_BYTES

MODELS = Path(__file__).parent / "models"
ATTEMPTS = 4
CONNECT_S, READ_S = 10.0, 60.0
NEEDED = ("model_metadata.json", "reward_function.py", "training_params.yaml", "hyperparameters.json")
"""Names of the files without which its website imports nothing (pages/ImportModel/constants.ts)."""
_LEFT_OUT = (".DS_Store", "Thumbs.db", "desktop.ini")
_NAME = "letters, digits and hyphens, at most 64"
IMPORTING, ENDED = "IMPORTING", ("COMPLETED", "FAILED", "CANCELED")
_POLL_S = 5.0


@dataclass(frozen=True, slots=True)
class DroaClient:
    """The API and the upload bucket, for a user who is signed in."""

    login: Login
    api: Any
    store: Any

    @classmethod
    def of(cls, login: Login) -> "DroaClient":
        """Keys that have run out are fetched anew."""
        login = fresh(login)
        session = boto3.session.Session(
            aws_access_key_id=login.keys.access,
            aws_secret_access_key=login.keys.secret,
            aws_session_token=login.keys.token,
            region_name=login.site.region,
        )
        session._loader.search_paths.append(str(MODELS))
        session._session.user_agent_extra = ""  # requests say what the user told them to say
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
        }
        config = Config(user_agent=login.user_agent, **options)
        api = session.client("deepracer", endpoint_url=login.site.api, config=config)
        store = session.client("s3", config=Config(user_agent_extra="undercut", **options))
        if ".amazonaws.com" not in store.meta.endpoint_url:
            store = session.client("s3", config=Config(s3={"addressing_style": "path"}, **options))
        return cls(login, api, store)

    # --- what there is ---

    def models(self) -> list[dict[str, Any]]:
        """This user's models, newest first."""
        return sorted(self._all("list_models", "models"), key=lambda it: it["createdAt"], reverse=True)

    def leaderboards(self) -> list[dict[str, Any]]:
        """The races that this user sees, the one that closes last first."""
        return sorted(self._all("list_leaderboards", "leaderboards"), key=lambda it: it["closeTime"], reverse=True)

    def model(self, name: str) -> dict[str, Any]:
        """The newest model of that name, or the one with that id; InputError with the names that there are."""
        return _chosen("model", name, self.models(), "modelId")

    def leaderboard(self, name: str) -> dict[str, Any]:
        """The same of a race."""
        return _chosen("race", name, self.leaderboards(), "leaderboardId")

    def _all(self, operation: str, key: str, **request: Any) -> list[dict[str, Any]]:
        """Page after page."""
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            answer = self.ask(operation, **request, **token)
            found += answer[key]
            if not answer.get("token") or answer["token"] == token.get("token"):
                return found
            token = {"token": answer["token"]}

    # --- what is done ---

    def import_model(
        self, name: str, description: str, files: Sequence[tuple[str, Path]], say: Callable[[str], None]
    ) -> str:
        """Upload a model's files (relative name, file) and have them imported; the id of the new model."""
        _check_import(name, description, files)
        prefix = f"uploads/models/{uuid.UUID(bytes=secrets.token_bytes(16), version=4)}"
        size = sum(path.stat().st_size for _, path in files)
        say(f"uploading {len(files)} files, {size / 1e6:,.1f} MB")
        for key, path in files:
            self._upload(f"{prefix}/{key}", path)
        optional = {"modelDescription": description} if description else {}
        answer = self.ask("import_model", s3Bucket=self.login.site.bucket, s3Path=prefix, modelName=name, **optional)
        return str(answer["modelId"])

    def _upload(self, key: str, path: Path) -> None:
        try:
            self.store.upload_file(str(path), self.login.site.bucket, key)
        except (aws.ClientError, aws.BotoCoreError, boto3.exceptions.Boto3Error, OSError) as error:
            raise DroaError(
                f"uploading {path.name} failed: {error}",
                f"a user who is signed in may put files into {self.login.site.bucket}",
                "undercut droa login again; ask whoever runs the deployment",
            ) from None

    def submit(self, model_id: str, leaderboard_id: str) -> str:
        """Enter a model into a race; the id of the submission."""
        return str(self.ask("create_submission", leaderboardId=leaderboard_id, modelId=model_id)["submissionId"])

    def imported(self, model_id: str, deadline_s: float) -> dict[str, Any]:
        """Wait until a model is no longer being imported; DroaError when it failed, or takes longer."""
        for _ in _polls(deadline_s):
            model: dict[str, Any] = self.ask("get_model", modelId=model_id)["model"]
            if model["status"] == "ERROR":
                reason = model.get("importErrorMessage") or "it does not say why"
                raise DroaError(
                    f"the import of {model['name']} failed: {reason}", "the model fits", "mend it, import again"
                )
            if model["status"] != IMPORTING:
                return model
        raise _too_long("the import", deadline_s)

    def raced(self, leaderboard_id: str, model_id: str, deadline_s: float) -> dict[str, Any]:
        """Wait until the newest submission of a model to a race has been driven."""
        for _ in _polls(deadline_s):
            its = self._all("list_submissions", "submissions", leaderboardId=leaderboard_id)
            own = [it for it in its if it["modelId"] == model_id]
            newest = max(own, key=lambda it: it["submissionNumber"], default=None)
            if newest is not None and newest["status"] in ENDED:
                return newest
        raise _too_long("the race", deadline_s)

    def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        """An answer of the API; DroaError in words."""
        try:
            answer: dict[str, Any] = getattr(self.api, operation)(**request)
        except (aws.ClientError, aws.BotoCoreError, ResponseParserError, ValueError) as error:
            raise _explained(error, operation) from None
        return answer


def run_files(name: str, world: str | None, folder: Path, say: Callable[[str], None]) -> list[tuple[str, Path]]:
    """A run's files in the layout of DeepRacer on AWS, written below `folder`; `say` is told what to know of them."""
    from undercut.interchange.exporting import export
    from undercut.runs.run import Run

    written = export(Run.open(name), "droa", folder / name, world=world)
    for note in written.notes:
        say(note)
    return folder_files(written.path)


def folder_files(folder: Path) -> list[tuple[str, Path]]:
    """The files of a folder that are imported: no archives, and nothing that a desktop leaves."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    kept = [path for path in found if path.name not in _LEFT_OUT and path.suffix not in (".gz", ".zip")]
    return [(path.relative_to(folder).as_posix(), path) for path in kept]


def import_source(
    client: DroaClient, source: str, name: str, description: str, world: str | None, say: Callable[[str], None]
) -> str:
    """Import a run, or a folder in the layout of `undercut export --layout droa`; the id of the new model."""
    from undercut.runs.run import Run

    if Run.exists(source):
        with TemporaryDirectory(prefix="undercut-droa-") as folder:
            return client.import_model(name, description, run_files(source, world, Path(folder), say), say)
    if not Path(source).is_dir():
        raise InputError("MODEL", source, "a run, or a folder with a model", "undercut runs lists runs")
    return client.import_model(name, description, folder_files(Path(source)), say)


def _check_import(name: str, description: str, files: Sequence[tuple[str, Path]]) -> None:
    plain = name.replace("-", "").isalnum() and name.isascii() and len(name) <= 64
    if not plain:
        raise InputError("--name", name, _NAME, "give another one")
    if description and not (description.replace("-", "").replace(" ", "").isalnum() and description.isascii()):
        raise InputError("--description", description, "letters, digits, blanks and hyphens", "shorten it")
    if len(description) > 255:
        raise InputError("--description", description, "at most 255 characters", "shorten it")
    lacks = [it for it in NEEDED if it not in {key.rpartition("/")[2] for key, _ in files}]
    if lacks:
        rule = f"an import has {', '.join(NEEDED)}"
        raise InputError("MODEL", f"no {', '.join(lacks)}", rule, "undercut export RUN --layout droa")
    size = sum(path.stat().st_size for _, path in files)
    if size > MAX_IMPORT_BYTES:
        raise InputError("MODEL", f"{size:,} bytes", f"at most {MAX_IMPORT_BYTES:,}", "leave logs and simtraces out")


def _chosen(what: str, name: str, there: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    for it in there:
        if name in (it[key], it["name"]):
            return it
    names = list(dict.fromkeys(str(it["name"]) for it in there))
    rule = f"a {what} of yours there ({', '.join(names[:20]) or 'there is none yet'})"
    raise InputError(what.upper(), name, rule, suggestion(name, names, "choose one of them"))


def _polls(deadline_s: float) -> Iterator[None]:
    """At once, and every few seconds until the deadline."""
    end_s = time.monotonic() + deadline_s
    while True:
        yield
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(_POLL_S, left_s))


def _too_long(what: str, deadline_s: float) -> DroaError:
    rule = f"{what} takes at most {deadline_s / 60:g} minutes"
    return DroaError(f"{what} has not ended yet", rule, "look at it on the site, or give a higher --minutes")


def _explained(error: Exception, operation: str) -> DroaError:
    response = error.response if isinstance(error, aws.ClientError) else {}
    code = str(response.get("Error", {}).get("Code", "")) or type(error).__name__
    message = str(response.get("Error", {}).get("Message", "")) or str(error)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    what = f"{operation} failed: {code}: {message.strip()}"
    if status == 403 and code in ("ForbiddenException", "403", "Forbidden"):
        return DroaError(
            what,
            "the deployment's firewall and roles let this user and this client in",
            "undercut droa login again; if it stays, its firewall (AWS WAF, Bot Control) refuses clients that are no "
            "browsers: docs/droa.md says what its owner can do",
        )
    if status == 403:
        return DroaError(what, "this user may do that", "undercut droa login again; ask whoever runs the deployment")
    if isinstance(error, aws.EndpointConnectionError | aws.ConnectTimeoutError | aws.ReadTimeoutError):
        return DroaError(what, "the deployment can be reached from here", "see the network, and whether it still runs")
    return DroaError(what, "DeepRacer on AWS takes what it is asked", "see the message")
