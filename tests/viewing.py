"""The page's server in this process, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.patience import PATIENCE_S
from undercut.view.server import application

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def served(
    host: str = "127.0.0.1", token: str | None = None, stall_s: float = PATIENCE_S
) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(host, token, stall_s))) as client:
        yield client


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test()

    asyncio.run(within())
