"""Who may look: a token where others can reach the page, and no other site's page ever."""

import hmac
import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

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
