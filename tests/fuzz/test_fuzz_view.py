"""The page's server: whatever a request says, the answer is one of its own and the next request is answered too."""

import asyncio
import contextlib
import json
import logging
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import DEEP, ODD_VALUES, ODD_WORDS, damaged_json, damaged_text, examples
from tests.patience import PATIENCE_S
from tests.viewing import Client, run, served

WORDS = st.sampled_from(["run", "race", "mine", "..", ".", "%2e%2e", "token", "static", "api", "live", "index.html"])
PATHS = st.lists(WORDS | ODD_WORDS.filter(lambda word: len(word) < 500), max_size=4).map("/".join)
ASKED = {"kind": "run", "name": "mine", "show": "newest", "speed": 1, "iteration": 0, "car": 0, "paused": False}
HEADERS = st.dictionaries(
    st.sampled_from(["Host", "Origin", "Cookie", "If-None-Match", "Range", "Upgrade", "Connection", "Accept-Encoding"]),
    st.sampled_from(["*", "null", 'W/"x"', "http://127.0.0.1", "[::1", "undercut_0=\xff", "localhost:99", "bytes=0-"])
    | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12),
    max_size=3,
)
OWN = {101, 200, 206, 303, 304, 400, 401, 403, 404, 405, 416, 421, 426}


@pytest.fixture(autouse=True)
def racer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/run.json").write_text('{"name": "mine"}')


async def _raw(client: Client, path: str, headers: dict[str, str]) -> bytes:
    """The first line of the answer to a request as it is, without a client that puts it in order."""
    told = {"Host": f"127.0.0.1:{client.port}", **headers, "Connection": "close"}
    lines = [f"GET /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write("\r\n".join(lines).encode("latin-1", "replace"))
    await writer.drain()
    answer = await asyncio.wait_for(reader.readline(), PATIENCE_S)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


def test_requests(caplog: pytest.LogCaptureFixture) -> None:
    """Paths, queries and headers, with and without a token. One server for all of them."""

    @examples(150)
    @given(
        PATHS, st.dictionaries(st.sampled_from(["token", "x"]), ODD_WORDS | st.text(max_size=6), max_size=2), HEADERS
    )
    def ask(path: str, query: dict[str, str], headers: dict[str, str]) -> None:
        asked.append((path, query, headers))

    asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
    ask()

    async def test(token: str | None) -> None:
        async with served(token=token) as client:
            for path, query, headers in asked:
                told = "&".join(f"{name}={quote(value[:200], errors='replace')}" for name, value in query.items())
                plain = quote(path, safe="/%.", errors="replace")
                answer = await _raw(client, f"{plain}?{told}", headers)
                status = int(answer.split()[1])
                assert status in OWN, (path, query, headers, answer)
                assert token is None or status not in (101, 200), "nothing without the token"

    with caplog.at_level(logging.ERROR):
        run(lambda: test(None))
        run(lambda: test("secret"))
    assert not [record for record in caplog.records if record.exc_info]


def test_messages_of_the_page(caplog: pytest.LogCaptureFixture) -> None:
    """What a page asks for over its WebSocket: it is played or the socket is closed with a reason."""

    @examples(60)
    @given(
        damaged_json(ASKED)
        | st.builds(lambda value: json.dumps({"took": value}), ODD_VALUES)
        | damaged_text(json.dumps(ASKED))
        | DEEP.map(lambda text: text[:4000])
    )
    def ask(text: str) -> None:
        messages.append(text[:4000].encode("utf-8", "replace").decode())

    messages: list[str] = []
    ask()

    async def test() -> None:
        async with served() as client:
            for message in messages:
                async with client.ws_connect("/live") as socket:
                    await socket.send_str(message)
                    await socket.send_str('{"paused": true}')
                    with contextlib.suppress(asyncio.TimeoutError):
                        heard = await socket.receive(0.01)
                        assert heard.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.BINARY), heard
            async with client.get("/api/runs") as answer:
                assert answer.status == 200

    with caplog.at_level(logging.ERROR):
        run(test)
    assert not [record for record in caplog.records if record.exc_info]
