"""A headless Chromium driven over its DevTools protocol, for tests of the page. Debian: apt-get install chromium."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.patience import PATIENCE_S

EXECUTABLE = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0"),
)


class Page:
    """A tab: what its scripts say, and what went wrong in it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.session = ""
        self.errors: list[str] = []
        """Uncaught exceptions, console errors, failed loads and violations of the content security policy."""

    async def listen(self) -> None:
        async for heard in self._socket:
            said = json.loads(heard.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
                continue
            method, params = said["method"], said["params"]
            if method == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
                self.errors.append(str([argument.get("value") for argument in params["args"]]))
            elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol and its result."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        command = {"id": number, "method": method, "params": params}
        await self._socket.send_json({**command, "sessionId": self.session} if self.session else command)
        said = await asyncio.wait_for(answer, PATIENCE_S)
        assert "error" not in said, f"{method}: {said['error']}"
        result: dict[str, Any] = said["result"]
        return result

    async def value(self, script: str) -> Any:
        """Value of a JavaScript expression in the page, awaited where it is a promise."""
        said = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def until(self, script: str, seconds: float = PATIENCE_S) -> Any:
        """Wait until an expression is true in the page; one that fails (an element not there yet) is not true yet."""
        end_s = asyncio.get_running_loop().time() + seconds
        while True:
            said = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
            failed = said.get("exceptionDetails")
            if failed is None and (value := said["result"].get("value")):
                return value
            assert asyncio.get_running_loop().time() < end_s, (
                f"not after {seconds} s: {script}; {failed}; {self.errors}"
            )
            await asyncio.sleep(0.1)

    async def look(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        """Take on a screen's size, and a theme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=theme)

    async def picture(self, path: Path, whole: bool = False) -> None:
        """PNG of what is to be seen, or of the whole page."""
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def browser(address: str) -> AsyncIterator[Page]:
    """A fresh browser with the address open."""
    assert EXECUTABLE is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            EXECUTABLE,
            *FLAGS,
            f"--user-data-dir={folder}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                told = Path(folder, "DevToolsActivePort")
                while not (told.is_file() and len(told.read_text().split()) == 2):
                    assert process.returncode is None, "the browser ended at once"
                    await asyncio.sleep(0.05)
            port, path = told.read_text().split()
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
            ):
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                target = await page.call("Target.createTarget", url="about:blank")
                attached = await page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
                page.session = attached["sessionId"]
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=address)
                yield page
                listening.cancel()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
