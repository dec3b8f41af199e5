"""Playback: laps and frames as they are sent, and that a viewer which takes nothing holds nobody up."""

import asyncio
import itertools
import json
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest

from contract import artifacts
from tests.patience import PATIENCE_S
from tests.viewing import run, served
from tests.watching import write_run
from undercut.view.laps import LapReader
from undercut.view.server import MAX_VIEWERS
from undercut.view.stage import WINDOW, Album, Stage, Viewer, frame_messages
from undercut.view.subject import Subject

pytestmark = pytest.mark.usefixtures("racer")


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
        async with served(stall_s=2.0) as client:
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
    async with asyncio.timeout(PATIENCE_S):
        while len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.02)
