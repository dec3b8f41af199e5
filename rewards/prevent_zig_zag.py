"""Follow the centre line without zig-zagging: hard steering costs a part of the reward."""

BANDS = ((0.10, 1.0), (0.25, 0.5), (0.50, 0.1))
OFF_THE_ROAD = 1e-3

# steering beyond this many degrees, to either side, keeps only this part of the reward
HARD_STEERING_DEG = 15.0
KEPT = 0.8


def reward_function(params):
    reward = OFF_THE_ROAD
    for share, value in BANDS:
        if params["distance_from_center"] <= share * params["track_width"]:
            reward = value
            break

    if abs(params["steering_angle"]) > HARD_STEERING_DEG:
        reward *= KEPT
    return reward
