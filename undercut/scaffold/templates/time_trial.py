# What the car is told to want. undercut calls reward_function once a step, 15 times a simulated second,
# and the car learns to collect as much as it can.
#
# params (27 of them; the others are in rewards/README.md and docs/write-a-reward.md):
#   all_wheels_on_track   True or False
#   distance_from_center  metres from the middle of the road, never negative
#   track_width           metres
#   speed                 m/s that the action asks for
#   steering_angle        degrees that the action asks for; left is positive
#   heading               degrees, -180..180
#   waypoints             the middle of the road, a list of (x, y)
#   closest_waypoints     [index behind, index ahead]
#   progress              0..100, per cent of the lap
#   steps                 1, 2, 3, ... since the episode began

import math

SLOWEST, FASTEST = 1.0, 2.0  # m/s, as in model_metadata.json
OFF_THE_ROAD = 1e-3


def reward_function(params):
    if not params["all_wheels_on_track"]:
        return OFF_THE_ROAD

    # 1 in the middle of the road, 0 at its edge
    offset = params["distance_from_center"] / (0.5 * params["track_width"])
    middle = max(0.0, 1.0 - offset**2)

    # 1 along the road, 0 across it
    waypoints = params["waypoints"]
    behind, ahead = params["closest_waypoints"]
    dx = waypoints[ahead][0] - waypoints[behind][0]
    dy = waypoints[ahead][1] - waypoints[behind][1]
    away = math.degrees(math.atan2(dy, dx)) - params["heading"]  # both in degrees
    away = (away + 180.0) % 360.0 - 180.0  # -180..180, also where one of the two passes 180
    along = max(0.0, math.cos(math.radians(away)))

    # 0 for the slowest action, 1 for the fastest
    quick = (params["speed"] - SLOWEST) / (FASTEST - SLOWEST)

    return max(OFF_THE_ROAD, middle * along * (1.0 + 0.5 * quick))
