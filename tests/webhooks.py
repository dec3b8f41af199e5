"""A web server that is told things: what came, and answers that are slow, refuse or lead elsewhere."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """Answers POSTs by their path: /ok, /hold until `release` is set, /broken, /moved to /ok."""

    port: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def receiver() -> Iterator[Server]:
    """Until the block ends."""
    mine = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            mine.begun.append(self.path)
            if self.path == "/hold":
                mine.release.wait(60)
            mine.got.append((self.path, dict(self.headers), body))
            code = {"/broken": 500, "/moved": 307}.get(self.path, 200)
            self.send_response(code)
            if code == 307:
                self.send_header("Location", "/ok")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not on the test's output."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    mine.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield mine
    finally:
        mine.release.set()
        httpd.shutdown()
        httpd.server_close()
