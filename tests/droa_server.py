"""DeepRacer on AWS on this machine for tests: its website's env.js and its API over real HTTP, by its Smithy model.

Operations, required members and patterns are those of source/libs/model/src/main/smithy of
github.com/aws-solutions/deepracer-on-aws; that requests are signed for execute-api is api.ts's (awsSigv4). The
signature is checked here by AWS's description of Signature Version 4, without botocore.
"""

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

ID = r"[A-Za-z0-9]{15}"
NAME, DESCRIPTION = r"[a-zA-Z0-9-]{1,64}", r"[a-zA-Z0-9- ]{1,255}"
ANY = r"[\s\S]+"


@dataclass(frozen=True)
class Operation:
    """`body` and `query` are member -> pattern; a name with a question mark is optional. `answers` are required."""

    method: str
    uri: str
    body: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    answers: tuple[str, ...] = ()


TOKEN = {"token?": ANY}
OPERATIONS = {
    "ListModels": Operation("GET", "/models", query=TOKEN, answers=("models",)),
    "GetModel": Operation("GET", "/models/{modelId}", answers=("model",)),
    "ImportModel": Operation(
        "POST",
        "/importmodel",
        {"s3Bucket": ANY, "s3Path": ANY, "modelName": NAME, "modelDescription?": DESCRIPTION},
        answers=("modelId",),
    ),
    "ListLeaderboards": Operation("GET", "/leaderboards", query=TOKEN, answers=("leaderboards",)),
    "CreateSubmission": Operation(
        "POST", "/leaderboards/{leaderboardId}/submissions", {"modelId": ID}, answers=("submissionId",)
    ),
    "ListSubmissions": Operation(
        "GET", "/leaderboards/{leaderboardId}/submissions", query=TOKEN, answers=("submissions",)
    ),
}
STAGE = "/prod"
PAGE = 2
"""Models or races of a page."""


class _Quiet(WSGIRequestHandler):
    def log(self, kind: str, message: str, *values: Any) -> None:
        """Say nothing."""


@dataclass
class DroaServer:
    """Use as a context. `secrets` are the keys that requests may be signed with, access key -> (secret, token)."""

    region: str = "us-east-1"
    bucket: str = "droa-uploads"
    secrets: dict[str, tuple[str, str]] = field(default_factory=dict)
    user_pool: str = "us-east-1_abcdefghi"
    client: str = "client1"
    identity_pool: str = "us-east-1:00000000-0000-0000-0000-000000000000"
    models: list[dict[str, Any]] = field(default_factory=list)
    leaderboards: list[dict[str, Any]] = field(default_factory=list)
    submissions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    uploaded: Callable[[str, str], list[str]] = lambda bucket, prefix: []
    """The keys below a prefix of the upload bucket."""
    refuses: str = ""
    """A user agent that the firewall stops."""
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """Operation, user agent, body."""

    def __enter__(self) -> "DroaServer":
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def env_js(self) -> str:
        """As website.ts writes it."""
        told = {
            "apiEndpointUrl": f"{self.url}{STAGE}/",
            "userPoolId": self.user_pool,
            "userPoolClientId": self.client,
            "identityPoolId": self.identity_pool,
            "region": self.region,
            "uploadBucketName": self.bucket,
        }
        return f"window.EnvironmentConfig = {json.dumps(told, separators=(',', ':'))};"

    def add_model(self, name: str, status: str = "READY", day: int = 1) -> str:
        """Its id."""
        model_id = f"model{len(self.models):010d}"
        self.models.append(
            {
                "modelId": model_id,
                "name": name,
                "createdAt": f"2026-11-{day:02d}T12:00:00.000Z",
                "fileSizeInBytes": 12_000_000,
                "status": status,
                "trainingStatus": "COMPLETED",
                "trainingMetricsUrl": "https://example.com/metrics",
            }
        )
        return model_id

    def add_leaderboard(self, name: str, day: int = 1) -> str:
        """Its id."""
        board_id = f"board{len(self.leaderboards):010d}"
        self.leaderboards.append(
            {
                "leaderboardId": board_id,
                "name": name,
                "openTime": "2026-11-01T00:00:00.000Z",
                "closeTime": f"2026-12-{day:02d}T00:00:00.000Z",
                "trackConfig": {"trackId": "reinvent_base", "trackDirection": "COUNTER_CLOCKWISE"},
                "raceType": "TIME_TRIAL",
                "maxSubmissionsPerUser": 9,
                "timingMethod": "BEST_LAP_TIME",
                "participantCount": 0,
            }
        )
        return board_id

    # --- answers -----------------------------------------------------------------------------------------------------

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._response(Request(environ))(environ, start_response)

    def _response(self, request: Request) -> Response:
        if request.path == "/env.js":
            return Response(self.env_js(), mimetype="text/javascript")
        agent = request.headers.get("User-Agent", "")
        if self.refuses and self.refuses in agent:
            return _gateway(403, "ForbiddenException", "Forbidden")
        if not request.path.startswith(STAGE):
            return _gateway(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        problem = wrong_signature(request, self.region, self.secrets)
        if problem:
            return _gateway(403, "InvalidSignatureException", problem)
        for name, operation in OPERATIONS.items():
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.uri)
            match = re.fullmatch(pattern, request.path.removeprefix(STAGE))
            if match and request.method == operation.method:
                return self._operate(name, operation, match.groupdict(), request, agent)
        return _gateway(403, "MissingAuthenticationTokenException", "Missing Authentication Token")

    def _operate(
        self, name: str, operation: Operation, labels: dict[str, str], request: Request, agent: str
    ) -> Response:
        body = json.loads(request.get_data() or b"{}") if operation.body else {}
        problem = (
            _misfit(labels, dict.fromkeys(labels, ID))
            or _misfit(body, operation.body)
            or _misfit(dict(request.args), operation.query)
        )
        self.calls.append((name, agent, body))
        if problem:
            return _error(400, "ValidationException", problem)
        status, answer = getattr(self, f"_{_snake(name)}")(labels, body, request.args.get("token", ""))
        if status != 200:
            return _error(status, *answer)
        assert set(operation.answers) <= set(answer)
        return Response(json.dumps(answer), mimetype="application/json")

    def _list_models(self, labels: Any, body: Any, token: str) -> tuple[int, Any]:
        return 200, _page("models", self.models, token)

    def _list_leaderboards(self, labels: Any, body: Any, token: str) -> tuple[int, Any]:
        return 200, _page("leaderboards", self.leaderboards, token)

    def _get_model(self, labels: Any, body: Any, token: str) -> tuple[int, Any]:
        for model in self.models:
            if model["modelId"] == labels["modelId"]:
                told = dict(model)
                if model["status"] == "IMPORTING":
                    model["status"] = "READY"  # by the next time that somebody asks
                return 200, {"model": told}
        return 404, ("NotFoundError", "Item not found.")

    def _import_model(self, labels: Any, body: Any, token: str) -> tuple[int, Any]:
        keys = self.uploaded(body["s3Bucket"], f"{body['s3Path']}/")
        names = {key.removeprefix(f"{body['s3Path']}/") for key in keys}
        for needed in ("model_metadata.json", "reward_function.py", "training_params.yaml", "ip/hyperparameters.json"):
            if needed not in names:
                return 400, ("BadRequestError", f"{needed} is missing.")
        return 200, {"modelId": self.add_model(body["modelName"], "IMPORTING", 28)}

    def _create_submission(self, labels: Any, body: Any, token: str) -> tuple[int, Any]:
        model = next((it for it in self.models if it["modelId"] == body["modelId"]), None)
        board = next((it for it in self.leaderboards if it["leaderboardId"] == labels["leaderboardId"]), None)
        if model is None or board is None:
            return 404, ("NotFoundError", "Item not found.")
        if model["status"] != "READY":
            return 400, ("BadRequestError", "Model is not in a submittable state.")
        its = self.submissions.setdefault(board["leaderboardId"], [])
        submission = {
            "submittedAt": "2026-11-29T12:00:00.000Z",
            "submissionNumber": len(its) + 1,
            "videoUrl": "https://example.com/video",
            "modelId": model["modelId"],
            "modelName": model["name"],
            "status": "QUEUED",
        }
        its.append(submission)
        return 200, {"submissionId": f"submi{len(its):010d}"}

    def _list_submissions(self, labels: Any, body: Any, token: str) -> tuple[int, Any]:
        its = self.submissions.get(labels["leaderboardId"], [])
        told = _page("submissions", [dict(it) for it in its], token)
        for it in its:  # by the next time that somebody asks
            it["status"] = "COMPLETED"
            counts = dict.fromkeys(("collisionCount", "offTrackCount", "resetCount"), 0)
            laps = {"avgLapTime": 12_500, "bestLapTime": 12_345, "totalLapTime": 37_500, "completedLapCount": 3}
            it["stats"] = {**counts, **laps, "avgResets": 0.0}
        return 200, told


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _page(key: str, items: list[dict[str, Any]], token: str) -> dict[str, Any]:
    begin = int(token or 0)
    more = {"token": str(begin + PAGE)} if begin + PAGE < len(items) else {}
    return {key: items[begin : begin + PAGE], **more}


def _misfit(given: dict[str, Any], members: dict[str, str]) -> str:
    """What of Smithy's constraints is broken; empty for nothing."""
    known = {name.rstrip("?"): pattern for name, pattern in members.items()}
    for name in members:
        if not name.endswith("?") and name not in given:
            return f"Value at '/{name}' failed to satisfy constraint: Member must not be null"
    for name, value in given.items():
        if name not in known or not isinstance(value, str) or not re.fullmatch(known[name], value):
            return f"Value at '/{name}' failed to satisfy constraint: {known.get(name, 'no such member')}"
    return ""


def _error(status: int, name: str, message: str) -> Response:
    """As restJson1 says errors."""
    answer = Response(json.dumps({"message": message}), status, mimetype="application/json")
    answer.headers["X-Amzn-Errortype"] = name
    return answer


def _gateway(status: int, name: str, message: str) -> Response:
    """As API Gateway and its firewall say them, before any operation is reached."""
    return _error(status, name, message)


# --- Signature Version 4, as AWS describes it ("Create a signed AWS API request") -------------------------------------


def wrong_signature(request: Request, region: str, secrets: dict[str, tuple[str, str]]) -> str:
    """What is wrong with a request's signature; empty if it is right."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, *"
        r"SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})",
        request.headers.get("Authorization", ""),
    )
    if found is None:
        return "Missing Authentication Token"
    access, day, where, service, signed, signature = found.groups()
    if access not in secrets or (where, service) != (region, "execute-api"):
        return f"Credential should be scoped to a known key, {region} and execute-api, not {access}, {where}, {service}"
    secret, token = secrets[access]
    if request.headers.get("X-Amz-Security-Token") != token:
        return "The security token included in the request is invalid."
    names = signed.split(";")
    if "host" not in names or "x-amz-security-token" not in names:
        return "host and the security token must be signed"
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    query = "&".join(
        f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}"
        for k, v in sorted(parse_qsl(request.query_string.decode(), keep_blank_values=True))
    )
    payload = hashlib.sha256(request.get_data()).hexdigest()
    path = quote(request.path, safe="/-_.~")
    canonical = "\n".join([request.method, path, query, headers, signed, payload])
    stamp = request.headers.get("X-Amz-Date", "")
    scope = f"{day}/{where}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, where, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(expected, signature) else "The request signature we calculated does not match"
