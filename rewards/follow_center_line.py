"""Follow the centre line: three bands around it, each worth less than the one inside it."""

# (share of the road's width, reward), from the inside out
BANDS = ((0.10, 1.0), (0.25, 0.5), (0.50, 0.1))
OFF_THE_ROAD = 1e-3


def reward_function(params):
    distance = params["distance_from_center"]
    width = params["track_width"]

    for share, reward in BANDS:
        if distance <= share * width:
            return reward
    return OFF_THE_ROAD
