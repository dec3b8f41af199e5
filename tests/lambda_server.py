"""A stand-in for AWS Lambda: its Invoke API over HTTP, running a Python file's handler, with faults on demand."""

import importlib.util
import json
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ERRORS = {
    "denied": (403, "AccessDeniedException", "User is not authorized to perform: lambda:InvokeFunction"),
    "missing": (404, "ResourceNotFoundException", "Function not found"),
    "expired": (403, "ExpiredTokenException", "The security token included in the request is expired"),
    "throttled": (429, "TooManyRequestsException", "Rate Exceeded."),
}


class LambdaServer:
    """`fault` is one of ERRORS, or raise, slow, garbage; it happens `faults` times."""

    def __init__(self, file: Path) -> None:
        spec = importlib.util.spec_from_file_location("lambda_function", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.handler = module.lambda_handler
        self.events: list[dict[str, Any]] = []
        self.fault, self.faults = "", 1_000_000
        self._stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, as the API reference of Invoke has them."""
        assert path == "/2015-03-31/functions/deepracer-reward/invocations", path
        fault = self.fault if self.faults > 0 else ""
        self.faults -= 1
        if fault in ERRORS:
            status, code, text = ERRORS[fault]
            return status, {"X-Amzn-ErrorType": code}, json.dumps({"Message": text}).encode()
        if fault == "slow":
            self._stop.wait(5)
        if fault == "garbage":
            return 200, {}, b"<html>not json"
        event = json.loads(body)
        self.events.append(event)
        if fault == "raise":
            event["params"][0]["track_width"] = 0
        try:
            return 200, {}, json.dumps(self.handler(event, None)).encode()
        except Exception as error:
            told = {
                "errorMessage": str(error),
                "errorType": type(error).__name__,
                "stackTrace": traceback.format_tb(error.__traceback__)[1:],
            }
            return 200, {"X-Amz-Function-Error": "Unhandled"}, json.dumps(told).encode()


def _handler_of(server: LambdaServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, answer = server.answer(self.path, body)
            try:
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(answer)
            except OSError:  # the client has given up
                pass

        def log_message(self, *args: object) -> None:
            pass

    return Handler
