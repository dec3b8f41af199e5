"""The page in a headless Chromium: during a real small training, on a phone, and when files are missing or broken."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contract import artifacts
from tests.browser import EXECUTABLE, Page, browser
from tests.watching import write_race, write_run

pytestmark = [
    pytest.mark.usefixtures("racer"),
    pytest.mark.browser,
    pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium here: apt-get install chromium, then make test-all"),
]
UNDERCUT = Path(sys.executable).parent / "undercut"
PAINTED = """(id => {
  const canvas = document.getElementById(id);
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
  return seen.size;
})"""
FITS = "document.documentElement.scrollWidth <= innerWidth"


@contextmanager
def viewing(*arguments: str) -> Iterator[str]:
    """`undercut view`, by default on a free port; its address."""
    command = [str(UNDERCUT), "view", *(() if "--port" in arguments else ("--port", "0")), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.kill()  # how it ends by itself is tested in tests/unit/test_view_cli.py


async def played(page: Page) -> None:
    """Wait until laps are drawn: the map with its cars, the cameras and the car from behind."""
    await page.until("document.getElementById('eye').parentElement.classList.contains('both')")
    await page.until(f"{PAINTED}('map') > 20 && {PAINTED}('eye') > 20 && {PAINTED}('chase') > 100")


def test_a_training_is_watched_while_it_runs(racer: Path) -> None:
    (racer / "hyper.json").write_text(json.dumps({"num_episodes_between_training": 6, "num_epochs": 3}))
    command = [str(UNDERCUT), "train", "mine", "--hyperparameters", "hyper.json", "--cars", "6", "--steps", "100000"]

    async def watch(address: str) -> None:
        async with browser(address) as page:
            await page.look(1440, 900)
            await page.until("document.getElementById('name').textContent === 'mine'")
            await page.until("!document.getElementById('pill').hidden", 120)
            await page.until("document.getElementById('curves').dataset.points >= 1", 240)
            await played(page)
            assert await page.value("document.querySelectorAll('.tile').length") in (5, 6)
            before = await page.value("[...document.querySelectorAll('#clock')].map(it => it.textContent)[0]")
            await page.until(f"document.getElementById('clock').textContent !== '{before}'")
            points = await page.value("Number(document.getElementById('curves').dataset.points)")
            await page.until(f"document.getElementById('curves').dataset.points > {points}", 240)
            assert await page.value("document.querySelectorAll('.curve path.line[d^=M]').length") >= 5
            assert "Laps after iteration" in await page.value("document.getElementById('tables').textContent")
            assert await page.value(FITS)
            assert await page.value("document.getElementById('problems').hidden")
            assert page.errors == []

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as training:
        try:
            with viewing() as address:
                asyncio.run(watch(address))
        finally:
            training.kill()


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_everything_without_scrolling_sideways(dark: bool) -> None:
    write_run("mine", 3, cars=20, steps=150)
    write_race("cup", ["ann", "bob"], 2)

    async def watch(address: str) -> None:
        async with browser(address) as page:
            await page.look(390, 844, dark=dark, phone=True)
            await played(page)
            assert await page.value(FITS)
            assert await page.value("getComputedStyle(document.querySelector('.runs')).display") == "none"
            for part in ("map", "eye", "chase", "cars", "curves", "tables", "choose"):
                box = await page.value(f"document.getElementById('{part}').getBoundingClientRect().toJSON()")
                assert 0 <= box["left"] < box["right"] <= 390, part
                assert box["height"] > 30, part
            small = "filter(it => it.checkVisibility() && it.offsetHeight < 36).map(it => it.textContent)"
            assert await page.value(f"[...document.querySelectorAll('button')].{small}") == []
            await page.value("Object.assign(document.getElementById('choose'), {value: 'race/cup'})"
                             ".dispatchEvent(new Event('change'))")  # fmt: skip
            await page.until("document.getElementById('laps').textContent === 'Race cup'")
            assert await page.value(FITS)
            assert await page.value("document.querySelectorAll('.tile').length") == 4
            assert page.errors == []

    with viewing("mine") as address:
        asyncio.run(watch(address))


def test_choosing_cars_laps_and_iterations() -> None:
    write_run("mine", 4, cars=16, steps=300)

    async def watch(address: str) -> None:
        async with browser(address) as page:
            await page.look(1440, 900)
            await played(page)
            await click(page, "#show button:nth-child(2)")
            await page.until("document.getElementById('laps').textContent === 'Iteration 3, training'")
            await page.until("document.querySelectorAll('.tile').length === 16")
            await click(page, ".tile:nth-child(8)")
            await page.until("document.getElementById('car').textContent === 'episode 55'")
            assert await page.value("document.querySelectorAll('.tile[aria-pressed=true]').length") == 1
            # the second iteration, from its place in the first chart
            await page.value("""(() => {
              const svg = document.querySelector('.curve svg');
              const box = svg.getBoundingClientRect();
              const x = box.left + box.width * (38 + (340 - 46) / 3) / 340;
              svg.dispatchEvent(new MouseEvent('click', {clientX: x, clientY: box.top + 40}));
            })()""")
            await page.until("document.getElementById('laps').textContent === 'Iteration 1, training'")
            await click(page, "#pause")
            await asyncio.sleep(1.0)
            still = await page.value("document.getElementById('clock').textContent")
            await asyncio.sleep(1.0)
            assert await page.value("document.getElementById('clock').textContent") == still
            await click(page, "#pause")
            await page.until(f"document.getElementById('clock').textContent !== '{still}'")
            assert page.errors == []

    with viewing("mine") as address:
        asyncio.run(watch(address))


async def click(page: Page, selector: str) -> Any:
    return await page.value(f"document.querySelector('{selector}').click()")


def test_empty_broken_and_lost() -> None:
    async def watch(address: str) -> None:
        async with browser(address) as page:
            await page.look(390, 844, phone=True)
            await page.until("!document.getElementById('welcome').hidden")
            assert await page.value("document.getElementById('welcome').textContent.includes('undercut train')")
            assert await page.value("document.getElementById('watched').hidden")
            write_run("fresh", 0)
            await page.until("document.getElementById('name').textContent === 'fresh'")
            await page.until("!document.getElementById('nothing').hidden")
            assert await page.value("!document.getElementById('no-curves').hidden")
            broken = write_run("broken", 2)
            broken.put(artifacts.TRAINING_METRICS, b'{"metrics": [')
            broken.put(artifacts.EVALUATION_METRICS, b"<script>document.title = 'owned'</script>")
            await page.until("[...document.querySelectorAll('#runs b')].some(it => it.textContent === 'broken')")
            await page.value("location.hash = 'run/broken'")
            await page.until("!document.getElementById('problems').hidden")
            said = await page.value("document.getElementById('problems').textContent")
            assert artifacts.TRAINING_METRICS in said
            assert "fix:" in said
            assert "<script>" in said
            assert await page.value("document.title") != "owned"
            assert await page.value("document.getElementById('curves').dataset.points") == "2"
            assert await page.value(FITS)
            assert page.errors == []

    with viewing() as address:
        asyncio.run(watch(address))


def test_a_page_that_lost_its_server_says_so_and_comes_back() -> None:
    write_run("mine", 2)

    async def watch() -> None:
        with viewing() as address:
            context = browser(address)
            page = await context.__aenter__()
            await played(page)
        try:
            await page.until("document.getElementById('connection').textContent.includes('lost')")
            with viewing("--port", address.rpartition(":")[2].strip("/")):
                await page.until("document.getElementById('connection').textContent === ''")
                clock = await page.value("document.getElementById('clock').textContent")
                await page.until(f"document.getElementById('clock').textContent !== '{clock}'")
        finally:
            await context.__aexit__(None, None, None)

    asyncio.run(watch())
