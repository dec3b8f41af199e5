"""Stay on the road, and the closer to the centre line the better: a smooth reward to begin with."""


def reward_function(params):
    if not params["all_wheels_on_track"]:
        return 1e-3

    # 0 on the centre line, 1 at the edge
    offset = params["distance_from_center"] / (0.5 * params["track_width"])
    return max(1e-3, 1.0 - offset**2)
