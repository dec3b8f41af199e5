"""What a car's formats change: python -m tests.bench.bench_car_formats [--write]

A discrete, a continuous and a stereo policy that are as sure as trained ones (tests/trained_looking.py), in each format
beside TensorFlow over a lap's frames. --write also renews the table in docs/interchange.md.
"""

import argparse

import numpy as np

from tests.bench.record import machine, write_result
from tests.conftest import REPO
from tests.trained_looking import KINDS, SPREAD_ACTIONS, SPREAD_LOGITS, model_of, road_frames, trained_looking
from trainer.common.export import what_drives
from undercut.interchange.car import tensorflow_says
from undercut.interchange.car_formats import LEAST_AGREEMENT, Agreement, CarFormat, agreement, convert

PAGE = REPO / "docs" / "interchange.md"
BEGIN, END = "<!-- python -m tests.bench.bench_car_formats --write -->\n", "<!-- end of bench_car_formats -->\n"
METHOD = (
    "default network, weights of seed 2, its last layer scaled so that over a lap of paddock each logit deviates by "
    f"{SPREAD_LOGITS:g}, each continuous action by {SPREAD_ACTIONS:g} of -1 to 1; made of the bundle's graph, run "
    "frame by frame on one thread, median of 50 frames after one; int8 is calibrated on the lap"
)


def measured(kind: str) -> tuple[list[Agreement], float]:
    """Each format's agreement over a lap's frames, and the mean probability of the likeliest action, or the mean size
    of continuous ones."""
    model = model_of(kind)
    lap = road_frames(model)
    policy = trained_looking(model, lap)
    expected, graph = tensorflow_says(policy, model, lap), what_drives(policy)
    found = [
        agreement(form, convert(graph, lap.observations, form), model, lap.observations, expected) for form in CarFormat
    ]
    return found, float(np.abs(expected).max(axis=1).mean())


def markdown(found: dict[str, list[Agreement]]) -> str:
    """The table as docs/interchange.md has it."""
    lines = [
        "| policy | format | frames | same action | largest difference | ms a frame | size |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, agreements in found.items():
        for it in agreements:
            same = f"{it.same:.1%}".replace("%", " %")
            if it.same < LEAST_AGREEMENT:
                same += ", refused"
            size = f"{it.size / 1e6:.1f} MB"
            lines.append(
                f"| {kind} | `{it.format}` | {it.frames} | {same} | {it.largest:.1g} | {it.frame_ms:.2f} | {size} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"renew {PAGE.relative_to(REPO)}")
    write = parser.parse_args().write
    found, sure = {}, {}
    for kind in KINDS:
        found[kind], sure[kind] = measured(kind)
        print(kind, f"{sure[kind]:.2f}", flush=True)
    text = markdown(found)
    print(text)
    rows = {
        kind: [{name: getattr(it, name) for name in it.__slots__} for it in agreements]
        for kind, agreements in found.items()
    }
    write_result("car_formats", {"mean_likeliest": sure, "formats": rows}, METHOD)
    if write:
        before, rest = PAGE.read_text().split(BEGIN)
        where = f"*{machine()['cpu']}, one thread, beside other work.*"
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{where}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
