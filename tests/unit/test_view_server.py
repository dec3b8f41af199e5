"""The page's server: who may look, and what it gives."""

import re

import aiohttp
import pytest
from yarl import URL

from contract import artifacts
from tests.viewing import run, served
from tests.watching import write_race, write_run

pytestmark = pytest.mark.usefixtures("racer")

TOKEN = "a token that nobody guesses"


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
