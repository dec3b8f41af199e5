"""The page's server: its files, JSON of runs, and a WebSocket that plays laps."""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.typedefs import Handler

from contract.errors import InputError, UndercutError
from undercut.view import data
from undercut.view.laps import LapReader, Show
from undercut.view.stage import SPEEDS, Album, Stage, StalledError, Viewer, Watch
from undercut.view.subject import Subject

# --- Who may look -----------------------------------------------------------------------------------------------------

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """Checks every request before anything else does.

    host    what the server is bound to
    token   None on a loopback address: whoever can reach it is at this machine
    """

    def __init__(self, host: str, token: str | None) -> None:
        self._token = token
        names = {host.lower(), socket.gethostname().lower()} if token else {host.lower()}
        self._names = LOCAL_NAMES | names | {f"{name}.local" for name in names}
        # cookies do not tell ports apart, and two pages of one machine have two tokens
        self._cookie = f"undercut_{secrets.token_hex(4)}"

    async def prepare(self, _: web.BaseRequest, response: web.StreamResponse) -> None:
        """Put the security headers on every response."""
        response.headers.update(HEADERS)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._is_known(request.headers.get(hdrs.HOST, "")):
            raise web.HTTPMisdirectedRequest(
                text="This page is not served under that name. Open the address that undercut view printed.\n"
            )
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers[hdrs.HOST].lower():
            raise web.HTTPForbidden(text="Another site's page may not look at this one.\n")
        if self._token is not None:
            given = request.query.get("token")
            if given is not None and self._matches(given):
                answer = web.HTTPSeeOther("/")
                answer.set_cookie(self._cookie, self._token, httponly=True, samesite="Strict", path="/")
                raise answer
            if not self._matches(request.cookies.get(self._cookie, "")):
                raise web.HTTPUnauthorized(
                    text="A token is needed: open the address with ?token=... that undercut view printed.\n"
                )
        return await handler(request)

    def _matches(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(errors="replace"), self._token.encode())

    def _is_known(self, host: str) -> bool:
        """A site that resolves its own name to this machine (DNS rebinding) still sends that name."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._token is not None  # by number, a network's own machine


# --- The page's server ------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)
PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MAX_VIEWERS = 32
MAX_MESSAGE = 4096
STALL_S = 10.0
"""A page that takes nothing for so long is let go; it connects again when it is back."""
HEARTBEAT_S = 30.0
LISTING_S = 1.0


class View:
    """Everything that the requests share."""

    def __init__(self, stall_s: float = STALL_S) -> None:
        self._stall_s = stall_s
        self._pool = ThreadPoolExecutor(2, "view")
        self._album = Album()
        self._stages: dict[Watch, tuple[Stage, asyncio.Task[None]]] = {}
        self._viewers: set[Viewer] = set()
        self._listing: asyncio.Future[list[data.Json]] | None = None
        self._listed_s = 0.0
        # read once, and nothing else is served: no path of a request ever reaches the disk
        self._files = {
            path.name: (path.read_bytes(), TYPES[path.suffix]) for path in PAGE.iterdir() if path.suffix in TYPES
        }

    async def index(self, _: web.Request) -> web.Response:
        return self._file("index.html")

    async def static(self, request: web.Request) -> web.Response:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound(text="There is no such file.\n")
        body, kind = self._files[name]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def listing(self, request: web.Request) -> web.Response:
        """The same list for all who ask within a second: it looks into every run."""
        now_s = asyncio.get_running_loop().time()
        if self._listing is None or now_s - self._listed_s > LISTING_S:
            self._listing, self._listed_s = asyncio.ensure_future(self._in_pool(data.listing)), now_s
        return self._answer(request, await asyncio.shield(self._listing))

    async def details(self, request: web.Request) -> web.Response:
        subject = await self._subject(request.match_info["kind"], request.match_info["name"])
        return self._answer(request, await self._in_pool(data.details, subject))

    async def _subject(self, kind: str, name: str) -> Subject:
        try:
            subject: Subject = await self._in_pool(Subject.named, kind, name)
        except InputError as error:
            raise web.HTTPNotFound(text=json.dumps({"error": str(error)}), content_type="application/json") from None
        return subject

    def _answer(self, request: web.Request, content: object) -> web.Response:
        """The content as JSON, or that it is what the page has already."""
        text = json.dumps(content)
        tag = hashlib.sha256(text.encode()).hexdigest()[:32]
        if any(known.value == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers={"ETag": f'"{tag}"'})
        return web.Response(text=text, content_type="application/json", headers={"ETag": f'"{tag}"'})

    async def live(self, request: web.Request) -> web.WebSocketResponse:
        """Play what the page asks for, until it goes or takes nothing any more."""
        if len(self._viewers) >= MAX_VIEWERS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_VIEWERS} pages are open already; close one.\n")
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, heartbeat=HEARTBEAT_S, compress=False)
        viewer = Viewer(socket.send_bytes, self._stall_s)
        self._viewers.add(viewer)
        try:
            await socket.prepare(request)
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(viewer.pump())
                await self._listen(socket, viewer)
                pump.cancel()
        except* StalledError:
            if request.transport is not None:
                request.transport.abort()  # what it has not taken is of no use to it any more
        except* ConnectionError:
            pass  # it went while something was sent
        finally:
            self._viewers.discard(viewer)
            self._leave(viewer)
        return socket

    async def _listen(self, socket: web.WebSocketResponse, viewer: Viewer) -> None:
        async for heard in socket:
            if heard.type != WSMsgType.TEXT:
                break
            try:
                asked = json.loads(heard.data)
                if "took" in asked:
                    viewer.took(int(asked["took"]))
                    continue
                viewer.car = max(int(asked.get("car", 0)), 0)
                watch = None if asked.get("paused") else await self._watch(asked)
            except (
                *(ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError),
                *(UndercutError, web.HTTPNotFound),
            ) as error:
                reason = getattr(error, "text", None) or str(error)
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason.encode()[:120])
                return
            self._seat(viewer, watch)

    async def _watch(self, asked: dict[str, Any]) -> Watch:
        subject = await self._subject(str(asked["kind"]), str(asked["name"]))
        show, speed, iteration = asked.get("show", "newest"), asked.get("speed", 1), asked.get("iteration")
        if show not in get_args(Show):
            raise InputError("show", show, f"one of {', '.join(get_args(Show))}", "newest")
        if speed not in SPEEDS:
            raise InputError("speed", speed, f"one of {', '.join(map(str, SPEEDS))}", "1")
        if iteration is not None and not (type(iteration) is int and iteration >= 0):
            raise InputError(
                "iteration", iteration, "the number of an iteration, from 0", "leave it out for the newest"
            )
        return Watch(subject, show, iteration, float(speed))

    def _seat(self, viewer: Viewer, watch: Watch | None) -> None:
        """Have the viewer see what it asked for, and only that."""
        if watch is not None and watch in self._stages and viewer in self._stages[watch][0].viewers:
            return
        self._leave(viewer)
        viewer.forget()
        if watch is None:
            return
        if watch not in self._stages:
            reader = LapReader(watch.subject, watch.show, watch.iteration)
            stage = Stage(reader, watch.speed, self._album, self._pool)
            task = asyncio.create_task(stage.run())
            task.add_done_callback(lambda done: self._ended(watch, done))
            self._stages[watch] = stage, task
        self._stages[watch][0].join(viewer)

    def _ended(self, watch: Watch, task: asyncio.Task[None]) -> None:
        """A stage plays until it is cancelled; one that fails is a defect, which the log tells and the page too."""
        if not task.cancelled() and task.exception() is not None:
            log.error("cannot play %s", watch, exc_info=task.exception())
            stage, _ = self._stages.pop(watch)
            stage.say(f"cannot play these laps: {task.exception()!r}")

    def _leave(self, viewer: Viewer) -> None:
        for watch, (stage, task) in list(self._stages.items()):
            stage.viewers.discard(viewer)
            if not stage.viewers:
                task.cancel()
                del self._stages[watch]

    async def _in_pool(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def close(self, _: web.Application) -> None:
        tasks = [task for _, task in self._stages.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._album.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


@web.middleware
async def explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What does not come from the store is said in words."""
    try:
        return await handler(request)
    except UndercutError as error:
        raise web.HTTPServiceUnavailable(text=f"{error}\n") from None


def application(host: str, token: str | None, stall_s: float = STALL_S) -> web.Application:
    """The server for an address that it is bound to; see Guard."""
    guard, view = Guard(host, token), View(stall_s)
    server = web.Application(middlewares=[guard.check, explained])
    server.on_response_prepare.append(guard.prepare)
    server.on_cleanup.append(view.close)
    server.router.add_get("/", view.index)
    server.router.add_get("/static/{name}", view.static)
    server.router.add_get("/api/runs", view.listing)
    server.router.add_get("/api/{kind}/{name}", view.details)
    server.router.add_get("/live", view.live)
    return server
