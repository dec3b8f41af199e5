"""What the live page costs a training, and what its viewers get: python -m tests.bench.bench_view [--pairs 8]"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from contract.config import RunConfig
from contract.hyperparameters import Hyperparameters
from contract.protocols import Phase, RolloutOrder
from tests.bench.record import write_result
from tests.stock_coach import episode
from tests.watching import drive
from trainer.agents import CoachAgent
from undercut.backends.local.rollouts import LocalRollouts
from undercut.runs.live import LiveSession
from undercut.runs.run import DEFAULT_HYPERPARAMETERS, DEFAULT_METADATA, DEFAULT_REWARD, Run

CARS, VIEWERS, FPS = 16, 3, 15
METHOD = (
    "Iterations of the same work (16 episodes driven by the untrained policy, all frames kept; a PPO update of 1,600 "
    "transitions, 3 epochs, from the same weights), in pairs: one with three viewers, one with none, in alternating "
    "order; loss is the median over the pairs of watched over unwatched wall time, less 1. The page plays 16 cars, 300 "
    "steps each; every viewer follows another car, so that three chase views are drawn for each moment. The server and "
    "the viewers are processes of their own on the same cores; viewers take frames and do not decode them, as other "
    "machines do that. server_cores is the server's CPU time over wall time while watched, server_ms_a_moment what it "
    "needs for one moment of all cars and viewers: where others load the machine, so that frames are skipped, 15 of "
    "those a second over two cores are the surer figure of what a training loses"
)


async def view(address: str) -> None:
    """Watches while told to on stdin, and says how many frames each viewer got."""
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as client:

        async def watch(car: int, counts: list[int]) -> None:
            async with client.ws_connect(f"{address}live") as socket:
                await socket.send_json({"kind": "run", "name": "bench", "show": "training", "car": 5 * car})
                async for heard in socket:
                    if b'"type":"frame"' in heard.data[:60]:
                        counts[car] += 1
                        await socket.send_json({"took": counts[car]})

        while (await loop.run_in_executor(None, sys.stdin.readline)).strip() == "on":
            counts, began_s = [0] * VIEWERS, time.monotonic()
            tasks = [asyncio.create_task(watch(car, counts)) for car in range(VIEWERS)]
            await loop.run_in_executor(None, sys.stdin.readline)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            print(json.dumps([count / (time.monotonic() - began_s) for count in counts]), flush=True)


def cpu_s(process: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(pairs: int) -> dict[str, Any]:
    """In the working directory."""
    run = Run.create(RunConfig(name="bench", cars=CARS), DEFAULT_REWARD, DEFAULT_METADATA, DEFAULT_HYPERPARAMETERS)
    agent = CoachAgent(run.files.metadata, Hyperparameters(num_epochs=3), seed=1, precision="auto")
    source, start = LocalRollouts(run), agent.save()
    policy = agent.export()
    episodes = [episode(i, 100, run.files.metadata) for i in range(CARS)]
    shown = [drive(i, 300) for i in range(CARS)]
    order = RolloutOrder(Phase.training, 0, 0, CARS)
    python = [sys.executable, "-m"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with LiveSession("run", "training", run.config, print) as live:

        def iteration() -> float:
            agent.restore(start)
            began_s = time.monotonic()
            live.doing("driving")
            source.collect(policy, order)
            live.show(order, shown)
            agent.train(episodes, 0)
            return time.monotonic() - began_s

        iteration()
        with (
            subprocess.Popen([*python, "undercut", "view", "--port", "0"], **pipes) as server,
            subprocess.Popen([*python, "tests.bench.bench_view", "--view", _line(server)], **pipes) as viewers,
        ):

            def tell(word: str) -> None:
                assert viewers.stdin is not None
                viewers.stdin.write(word + "\n")
                viewers.stdin.flush()

            try:
                tell("on")  # the track is drawn
                iteration()
                tell("off")
                _line(viewers)
                ratios, rates, cores = [], [], []
                for pair in range(pairs):
                    took = {}
                    for watched in (True, False) if pair % 2 else (False, True):
                        if watched:
                            tell("on")
                        used_s, began_s = cpu_s(server.pid), time.monotonic()
                        took[watched] = iteration()
                        if watched:
                            cores.append((cpu_s(server.pid) - used_s) / (time.monotonic() - began_s))
                            tell("off")
                            rates.append(json.loads(_line(viewers)))
                    ratios.append(took[True] / took[False])
                    print(f"pair {pair}: {took[False]:.2f} s, watched {took[True]:.2f} s, fps {rates[-1]}", flush=True)
            finally:
                viewers.kill()
                server.kill()
    moments_s = [used / max(rate) for used, rate in zip(cores, rates, strict=True)]
    return {
        "cars": CARS,
        "viewers": VIEWERS,
        "pairs": pairs,
        "training_loss": round(statistics.median(ratios) - 1.0, 4),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "server_cores": round(statistics.median(cores), 4),
        "server_ms_a_moment": round(1000.0 * statistics.median(moments_s), 2),
        "fps_of_each_viewer": [round(statistics.median(rate[i] for rate in rates), 2) for i in range(VIEWERS)],
        "fps_asked_for": FPS,
    }


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def main() -> None:
    """Measure and write results/view.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--view", metavar="ADDRESS", help="be the viewers")
    given = parser.parse_args()
    if given.view:
        asyncio.run(view(given.view))
        return
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            result = measure(given.pairs)
        finally:
            os.chdir(here)
    print(json.dumps(result, indent=2))
    print(write_result("view", result, METHOD))


if __name__ == "__main__":
    main()
