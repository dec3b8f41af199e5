# What the car is told to want: the racing line of TRACK, at its speed. undercut calls reward_function once a step,
# 15 times a simulated second, and the car learns to collect as much as it can.
#
# It earns most for getting along the line fast. Each point of the line knows when the fastest lap is there; how far
# that clock goes on in a step, against the step's own time, is the pace: 1 is as fast as the fastest lap. Beside the
# line, and with another speed than the line's, the same pace earns less.
#
# Written by `undercut new --race-line`; plain Python, for any DeepRacer console or simulator.

import math

LAP_S = 4.0  # what the line takes
BESIDE_M = 0.25  # this far from the line only a third is left of what the line earns
SPEED_MPS = 1.5  # a command so much faster or slower than the line's earns nothing for its speed
STEP_S = 1.0 / 15.0
OFF_THE_ROAD = 1e-3

# x and y in metres of the car's point that params know, speed to command in m/s, seconds since the start line
LINE = [
    (0.0, 0.0, 4.0, 0.0),
    (4.0, 0.0, 4.0, 1.0),
    (4.0, 4.0, 4.0, 2.0),
    (0.0, 4.0, 4.0, 3.0),
]

last = {"index": 0, "clock_s": 0.0, "steps": 0.0}


def place_at(index, x, y):
    """From point `index` of the line to the next one: how far along (0 to 1), and how far beside it in metres."""
    x0, y0 = LINE[index][:2]
    x1, y1 = LINE[(index + 1) % len(LINE)][:2]
    dx, dy = x1 - x0, y1 - y0
    along = ((x - x0) * dx + (y - y0) * dy) / max(dx * dx + dy * dy, 1e-9)
    along = min(1.0, max(0.0, along))
    return along, math.hypot(x - x0 - along * dx, y - y0 - along * dy)


def nearest_place(x, y, begin, count):
    """Of `count` pieces of the line from `begin` on, over its end to its start: the nearest, and where on it."""
    best = None
    for k in range(count):
        index = (begin + k) % len(LINE)
        along, beside = place_at(index, x, y)
        if best is None or beside < best[2]:
            best = (index, along, beside)
    return best


def reward_function(params):
    x, y, steps = params["x"], params["y"], params["steps"]

    # near where it was a step ago: another part of the road may lie close by. A new episode begins anywhere.
    begins = steps <= 2 or steps < last["steps"]
    index, along, beside = nearest_place(x, y, last["index"] - 5, min(25, len(LINE)))
    if begins or beside > 1.0:
        index, along, beside = nearest_place(x, y, 0, len(LINE))
        begins = True

    here, ahead = LINE[index], LINE[(index + 1) % len(LINE)]
    span_s = (ahead[3] - here[3]) % LAP_S
    clock_s = (here[3] + along * span_s) % LAP_S
    # the short way round: over the start line too
    gone_s = (clock_s - last["clock_s"] + 0.5 * LAP_S) % LAP_S - 0.5 * LAP_S
    pace = 0.0 if begins else min(1.5, max(0.0, gone_s / STEP_S))
    last["index"], last["clock_s"], last["steps"] = index, clock_s, steps

    if params["is_offtrack"] or params["is_crashed"]:
        return OFF_THE_ROAD

    on_line = math.exp(-((beside / BESIDE_M) ** 2))
    wanted_mps = here[2] + along * (ahead[2] - here[2])
    at_speed = max(0.0, 1.0 - abs(params["speed"] - wanted_mps) / SPEED_MPS)
    return max(OFF_THE_ROAD, pace**2 * (0.3 + 0.5 * on_line + 0.2 * at_speed))
