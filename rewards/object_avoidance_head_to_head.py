"""Keep to the road and keep clear of the next object ahead, be it a box or another car.

The distance to an object counts only while it is in the car's own lane; changing lanes in time is the way past it.
"""

LANE_WEIGHT = 1.0
OBJECT_WEIGHT = 4.0

# (metres to the next object in the same lane, what is left of the reward for it), from near to far
DANGER = ((0.3, 1e-3), (0.5, 0.2), (0.8, 0.5))


def reward_function(params):
    if params["is_crashed"] or params["is_offtrack"]:
        return 1e-3

    lane = lane_reward(params)
    return (LANE_WEIGHT * lane + OBJECT_WEIGHT * object_reward(params)) / (LANE_WEIGHT + OBJECT_WEIGHT)


def lane_reward(params):
    """1 with all wheels on the road and room to the edge, next to nothing otherwise."""
    room_m = 0.5 * params["track_width"] - params["distance_from_center"]
    return 1.0 if params["all_wheels_on_track"] and room_m >= 0.05 else 1e-3


def object_reward(params):
    """1 with a clear road, less the nearer the next object of the same lane is."""
    if not params["objects_location"]:
        return 1.0

    ahead = params["closest_objects"][1]
    if params["objects_left_of_center"][ahead] != params["is_left_of_center"]:
        return 1.0

    distance_m = gap_ahead_m(params, ahead)
    for limit_m, reward in DANGER:
        if distance_m <= limit_m:
            return reward
    return 1.0


def gap_ahead_m(params, index):
    """Metres along the centre line to the object, also when the finish line lies between."""
    gap_m = params["objects_distance"][index] - params["projection_distance"]
    return gap_m % params["track_length"]
