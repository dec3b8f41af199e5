"""As much of the Docker engine's API over HTTP as the stack asks for: one container, whose states a test lists. Real
engines are for the tests that are marked docker."""

import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.patience import PATIENCE_S

CONTAINER = "c0ffee"


@dataclass
class DockerApi:
    """`states` are what looks at the container find, in turn, the last one for good; `logs` what it wrote since a
    second, 0 for all; `asked` the other requests."""

    states: list[dict[str, Any]] = field(default_factory=list)
    command: tuple[str, ...] = ("train", "mine")
    logs: dict[int, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    killed: threading.Event = field(default_factory=threading.Event)
    followed: Callable[[], None] | None = None
    """Called once when somebody follows the log, which goes on until the container is killed then."""

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        name = path.split("/", 2)[2]  # /v1.44/...
        if path == "/version" or name == "version":
            return {"ApiVersion": "1.44", "MinAPIVersion": "1.24"}
        if name == "info":
            return {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}
        if name == f"containers/{CONTAINER}/json":
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return {"Id": CONTAINER, "State": state, "Config": {"Cmd": list(self.command), "Tty": False}}
        if name == f"containers/{CONTAINER}/logs":
            if self.followed is not None and query.get("follow") == ["1"]:
                self.followed()
                assert self.killed.wait(PATIENCE_S)
            text = self.logs.get(int(float(query.get("since", ["0"])[0])), b"")
            return struct.pack(">BxxxL", 1, len(text)) + text  # a frame of stdout
        if name == f"containers/{CONTAINER}/kill":
            self.asked.append(f"kill {query['signal'][0]}")
            self.killed.set()
            return b""
        return None


@contextmanager
def docker_api(api: DockerApi) -> Iterator[str]:
    """The value of DOCKER_HOST."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            found = api.answer(url.path if url.path.count("/") > 1 else f"/v/{url.path[1:]}", parse_qs(url.query))
            body = found if isinstance(found, bytes) else json.dumps(found or {"message": "no such thing"}).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - by which the server calls it

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
