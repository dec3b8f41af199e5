# What the car is told to want, on a road with boxes or other cars. undercut calls reward_function once a step,
# 15 times a simulated second, and the car learns to collect as much as it can.
#
# params besides those of a time trial (the others are in rewards/README.md and docs/write-a-reward.md):
#   objects_location         a list of (x, y), empty when there is nothing
#   objects_distance         metres along the middle of the road, one an object
#   objects_left_of_center   True or False, one an object
#   closest_objects          [index behind, index ahead]
#   projection_distance      metres along the middle of the road, of the car
#   is_left_of_center        True or False, of the car
#   is_crashed, is_offtrack  True in the last step of an episode that ended so

OFF_THE_ROAD = 1e-3
CLEAR_M = 1.2  # metres to the next object of the same lane from which on it does not matter


def reward_function(params):
    if params["is_crashed"] or not params["all_wheels_on_track"]:
        return OFF_THE_ROAD

    # 1 with room to the edge of the road
    room = 0.5 * params["track_width"] - params["distance_from_center"]
    lane = min(1.0, max(0.0, room / 0.15))

    return max(OFF_THE_ROAD, lane * (0.2 + 0.8 * clear(params)))


def clear(params):
    """1 with nothing ahead in the car's own lane, less the nearer the next object is."""
    if not params["objects_location"]:
        return 1.0
    ahead = params["closest_objects"][1]
    if params["objects_left_of_center"][ahead] != params["is_left_of_center"]:
        return 1.0
    # the remainder: the next object may lie on the other side of the finish line
    gap = (params["objects_distance"][ahead] - params["projection_distance"]) % params["track_length"]
    return min(1.0, gap / CLEAR_M)
