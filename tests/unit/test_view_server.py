"""The page's server: who may look, what it gives, and that a viewer which takes nothing holds nobody up."""

import asyncio
import itertools
import json
import re
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from contract import artifacts
from scripts.view.laps import LapReader
from scripts.view.server import MAX_VIEWERS, application
from scripts.view.stage import WINDOW, Album, Stage, Viewer, frame_messages
from scripts.view.subject import Subject
from tests.watching import write_race, write_run

TOKEN = "a token that nobody guesses"
Client = TestClient[web.Request, web.Application]


@pytest.fixture(autouse=True)
def racer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@asynccontextmanager
async def served(host: str = "127.0.0.1", token: str | None = None, stall_s: float = 10.0) -> AsyncIterator[Client]:
    async with TestClient(TestServer(application(host, token, stall_s))) as client:
        yield client


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(within())


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_loads_nothing_from_elsewhere() -> None:
    async def test() -> None:
        async with served() as client:
            page = await client.get("/")
            text = await page.text()
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            assert page.headers["X-Frame-Options"] == "DENY"
            wanted = ["/static/" + name for name in re.findall(r'(?:src|href)="/static/([^"]+)"', text)]
            assert len(wanted) >= 3
            for name in (*wanted, *(f"/static/{name}.js" for name in ("map", "cars", "charts", "stream", "dom"))):
                part = await client.get(name)
                assert part.status == 200
                text += re.sub(r"http://www\.w3\.org/\S+", "", await part.text())  # names of formats
            code = re.sub(r"(?m)(^|\s)//.*|/\*.*?\*/", "", text).replace("${scheme}//${location.host}", "")
            assert "//" not in code
            assert not re.search(r"\son\w+=|<style|style=|javascript:|innerHTML|\beval\(", code)

    run(test)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/static/%00",
        "/api/run/..%2f..%2fetc",
        "/api/run/%2e%2e",
        "/api/run/mine%2f..",
        "/api/run/nobody",
        "/api/file/mine",
        "/runs/mine/run.json",
    ],
)
def test_no_path_leaves_the_page(path: str) -> None:
    async def test() -> None:
        write_run("mine", 0)
        async with served() as client:
            answer = await client.session.get(URL(f"http://127.0.0.1:{client.port}{path}", encoded=True))
            assert answer.status == 404
            assert "Traceback" not in await answer.text()
            assert "Content-Security-Policy" in answer.headers

    run(test)


# --- who may look -----------------------------------------------------------------------------------------------------


def test_other_machines_need_the_token_once() -> None:
    async def test() -> None:
        async with served("0.0.0.0", TOKEN) as client:
            for path in ("/", "/static/app.js", "/api/runs", "/live", "/?token=wrong", "/?token="):
                assert (await client.get(path, allow_redirects=False)).status == 401, path
            entered = await client.get("/", params={"token": TOKEN}, allow_redirects=False)
            assert (entered.status, entered.headers["Location"]) == (303, "/")
            cookie = entered.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert (await client.get("/api/runs")).status == 200
            async with client.ws_connect("/live") as socket:
                assert not socket.closed
            client.session.cookie_jar.clear()
            assert (await client.get("/api/runs")).status == 401

    run(test)


@pytest.mark.parametrize(
    ("token", "host", "status"),
    [
        (None, "127.0.0.1:80", 200),
        (None, "localhost:8899", 200),
        (None, "[::1]:8899", 200),
        (None, "evil.example", 421),
        (None, "127.0.0.1.evil.example", 421),
        (None, "192.168.0.7:8899", 421),
        (None, "", 421),
        (None, "[", 421),
        (TOKEN, "192.168.0.7:8899", 200),
        (TOKEN, "evil.example:8899", 421),
    ],
)
def test_another_sites_name_for_this_machine_is_refused(token: str | None, host: str, status: int) -> None:
    async def test() -> None:
        async with served("0.0.0.0" if token else "127.0.0.1", token) as client:
            query = {"token": token} if token else {}
            headers = {"Host": host}
            answer = await client.get("/", params=query, headers=headers, allow_redirects=False)
            assert answer.status == (303 if token and status == 200 else status)

    run(test)


@pytest.mark.parametrize(
    ("origin", "allowed"), [("same", True), (None, True), ("http://evil.example", False), ("null", False)]
)
def test_another_sites_page_gets_no_stream(origin: str | None, allowed: bool) -> None:
    async def test() -> None:
        async with served() as client:
            here = f"http://127.0.0.1:{client.port}"
            headers = {"Host": f"127.0.0.1:{client.port}"}
            if origin is not None:
                headers["Origin"] = here if origin == "same" else origin
            try:
                async with client.ws_connect("/live", headers=headers):
                    assert allowed
            except aiohttp.WSServerHandshakeError as refused:
                assert not allowed
                assert refused.status == 403

    run(test)


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_runs_and_their_curves_and_tables() -> None:
    async def test() -> None:
        write_run("mine", 3)
        write_run("fresh", 0)
        write_race("cup", ["ann", "bob"], 2)
        async with served() as client:
            listed = {row["name"]: row for row in await (await client.get("/api/runs")).json()}
            assert set(listed) == {"mine", "fresh", "cup"}
            assert (listed["mine"]["iterations"], listed["mine"]["steps"], listed["mine"]["live"]) == (3, 300, False)
            assert listed["fresh"]["best_completion_pct"] is None
            answer = await client.get("/api/run/mine")
            mine = await answer.json()
            assert mine["problems"] == []
            assert mine["curves"]["reward"] == [10.0, 11.0, 12.0]
            assert mine["curves"]["lap_time_s"] == [8.0, 8.0, 8.0]
            assert [table["title"] for table in mine["tables"]] == [
                "Evaluation laps",
                "Laps after iteration 2",
                "Fastest laps",
            ]
            assert mine["tables"][0]["rows"][0] == [1, "8.000 s", "Lap complete", "67 %", 0, 0, 0]
            same = await client.get("/api/run/mine", headers={"If-None-Match": answer.headers["ETag"]})
            assert (same.status, await same.read()) == (304, b"")
            cup = await (await client.get("/api/race/cup")).json()
            assert cup["tables"][0]["rows"][0][:4] == [1, "Ann", "2 of 2", 1]

    run(test)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        (artifacts.RUN_CONFIG, b'{"name": "mine", "trak": 1}'),
        (artifacts.ITERATIONS, b'[{"iteration": 0, "st'),
        (artifacts.ITERATIONS, b'[{"iteration": 0}]'),
        (artifacts.ITERATIONS, b"\xff\xff"),
        (artifacts.TRAINING_METRICS, b'{"metrics": [{"reward_sc'),
        (artifacts.EVALUATION_METRICS, b"[]"),
    ],
)
def test_a_broken_file_is_a_problem_beside_everything_else(key: str, content: bytes) -> None:
    async def test() -> None:
        write_run("mine", 3).put(key, content)
        async with served() as client:
            answer = await client.get("/api/run/mine")
            said = await answer.json()
            assert answer.status == 200
            assert len(said["problems"]) == 1
            assert key in said["problems"][0]
            assert len(said["tables"]) + len(said["curves"]["reward"]) >= 2
            assert [row["name"] for row in await (await client.get("/api/runs")).json()] == ["mine"]

    run(test)


def test_missing_files_are_no_problem() -> None:
    async def test() -> None:
        store = write_run("mine", 2)
        for key in store.list(""):
            if key != artifacts.RUN_CONFIG:
                store.delete(key)
        async with served() as client:
            said = await (await client.get("/api/run/mine")).json()
            assert (said["problems"], said["tables"], said["curves"]["reward"]) == ([], [], [])

    run(test)


def test_a_store_that_does_not_answer_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with served() as client:
            monkeypatch.setenv("UNDERCUT_STORE", "no address")
            answer = await client.get("/api/runs")
            assert answer.status == 503
            assert "UNDERCUT_STORE" in await answer.text()

    run(test)


# --- the stream -------------------------------------------------------------------------------------------------------


def unpacked(data: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack(">I", data[:4])
    return json.loads(data[4 : 4 + length]), data[4 + length :]


async def frames(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[tuple[dict[str, Any], bytes]]:
    """Messages up to and with the frame of that number, each frame acknowledged as the page does."""
    heard: list[tuple[dict[str, Any], bytes]] = []
    taken = 0
    while taken < count:
        heard.append(unpacked(await socket.receive_bytes()))
        if heard[-1][0]["type"] == "frame":
            taken += 1
            await socket.send_json({"took": taken})
    return heard


def ask(name: str = "mine", **more: Any) -> dict[str, Any]:
    return {"kind": "run", "name": name, **more}


def test_a_viewer_gets_the_laps_and_then_their_frames() -> None:
    async def test() -> None:
        write_run("mine", 1, cars=2, steps=30)
        async with served() as client, client.ws_connect("/live") as socket:
            await socket.send_json(ask(show="training", car=1))
            heard = await frames(socket, 5)
            kinds = [header["type"] for header, _ in heard]
            laps, columns = next((header, body) for header, body in heard if header["type"] == "laps")
            assert kinds.index("laps") < kinds.index("frame")
            assert [car["steps"] for car in laps["cars"]] == [30, 31]
            assert len(columns) == 4 * len(laps["columns"]) * 61
            assert laps["track"]["name"] == "paddock"
            shown = [header for header, _ in heard if header["type"] == "frame"]
            assert [header["t"] for header in shown] == pytest.approx([i / 15 for i in range(5)], abs=1e-3)
            assert {(header["laps"], header["car"]) for header in shown} == {(1, 1)}
            header: dict[str, Any]
            taken, header, body = 5, {}, b""
            while not header.get("cameras"):  # pictures come once the track has been drawn
                header, body = unpacked(await socket.receive_bytes())
                taken += header["type"] == "frame"
                await socket.send_json({"took": taken})
            assert body[:2] == body[header["cameras"] :][:2] == b"\xff\xd8"

    run(test)


def test_a_stalled_viewer_is_let_go_and_the_others_miss_nothing() -> None:
    async def test() -> None:
        write_run("mine", 1, cars=2, steps=200)
        async with served(stall_s=0.5) as client:
            stalled = await client.ws_connect("/live")
            well = await client.ws_connect("/live")
            for socket in (stalled, well):
                await socket.send_json(ask(show="training"))
            heard = await frames(well, 30)
            times = [header["t"] for header, _ in heard if header["type"] == "frame"]
            assert times == pytest.approx([i / 15 for i in range(30)], abs=1e-3)
            got = 0
            while not stalled.closed:
                message = await stalled.receive()
                if message.type == aiohttp.WSMsgType.BINARY:
                    got += unpacked(message.data)[0]["type"] == "frame"
            assert got == WINDOW
            await well.close()

    run(test)


def test_a_slow_viewer_skips_frames_and_stays_up_to_date() -> None:
    async def test() -> None:
        write_run("mine", 1, cars=2, steps=200)
        async with served() as client, client.ws_connect("/live") as slow, client.ws_connect("/live") as well:
            for socket in (slow, well):
                await socket.send_json(ask(show="training"))
            begin = await frames(slow, 1)
            await frames(well, 20)
            # all that is on its way, and then the newest
            late = [begin[-1][0]["t"]]
            for number in range(2, WINDOW + 3):
                header, _ = unpacked(await slow.receive_bytes())
                while header["type"] != "frame":
                    header, _ = unpacked(await slow.receive_bytes())
                late.append(header["t"])
                await slow.send_json({"took": number})
            assert max(b - a for a, b in itertools.pairwise(late)) > 10 / 15

    run(test)


def test_a_car_may_be_chosen_while_a_moment_is_drawn() -> None:
    """A choice comes at any time, also between the drawing of a moment and its sending."""
    write_run("mine", 1, cars=4, steps=200)
    sent: list[dict[str, Any]] = []

    async def send(data: bytes) -> None:
        sent.append(unpacked(data)[0])
        viewer.took(sum(header["type"] == "frame" for header in sent))

    class Meddling(ThreadPoolExecutor):
        left = 3

        def submit(self, work: Any, /, *arguments: Any, **more: Any) -> Any:
            if work is frame_messages and self.left:
                self.left -= 1
                viewer.car += 1
            return super().submit(work, *arguments, **more)

    viewer = Viewer(send, 10.0)

    async def test() -> None:
        with Meddling(1) as pool:
            stage = Stage(LapReader(Subject("run", "mine"), "training", None), 4.0, Album(), pool)
            stage.join(viewer)
            tasks = [asyncio.create_task(stage.run()), asyncio.create_task(viewer.pump())]
            while len(sent) < 8:
                assert not any(task.done() for task in tasks)
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run(test)


@pytest.mark.parametrize(
    "asked",
    [
        "no JSON",
        "[]",
        json.dumps(ask("nobody")),
        json.dumps(ask("../mine")),
        json.dumps(ask(show="all")),
        json.dumps(ask(speed=1000)),
        json.dumps(ask(iteration=-1)),
        json.dumps(ask(iteration="1; rm")),
        json.dumps(ask(car="x")),
        json.dumps({"kind": "file", "name": "mine"}),
        "x" * 5000,
    ],
)
def test_nonsense_ends_the_connection_and_says_why(asked: str) -> None:
    async def test() -> None:
        write_run("mine", 1)
        async with served() as client, client.ws_connect("/live") as socket:
            await socket.send_str(asked)
            message = await socket.receive()
            assert message.type == aiohttp.WSMsgType.CLOSE
            assert message.data == (1009 if len(asked) > 4096 else 1008)
            assert message.extra or message.data == 1009

    run(test)


def test_a_broken_simtrace_is_said_on_the_stream() -> None:
    async def test() -> None:
        write_run("mine", 1).put(artifacts.training_simtrace(0), b"episode,steps\n1,2\n")
        async with served() as client, client.ws_connect("/live") as socket:
            await socket.send_json(ask(show="training"))
            problem = ""
            while not problem:
                header, _ = unpacked(await socket.receive_bytes())
                problem = header.get("problem", "")
            assert artifacts.training_simtrace(0) in problem

    run(test)


def test_nobody_watching_costs_nothing_and_there_is_a_limit() -> None:
    async def test() -> None:
        write_run("mine", 1)
        async with served() as client:
            before = len(asyncio.all_tasks())
            async with client.ws_connect("/live") as socket:
                await socket.send_json(ask())
                await frames(socket, 1)
                await socket.send_json(ask(paused=True))
                await socket.send_json(ask(paused=True, name="mine"))
            await _settled(before)
            open_now = [await client.ws_connect("/live") for _ in range(MAX_VIEWERS)]
            assert (await client.get("/live")).status == 503
            for socket in open_now:
                await socket.close()

    run(test)


async def _settled(tasks: int) -> None:
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.02)
