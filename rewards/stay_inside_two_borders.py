"""Stay between the two borders: any line will do, as long as all wheels are on the road with a little room to spare."""

MARGIN_M = 0.05


def reward_function(params):
    room_m = 0.5 * params["track_width"] - params["distance_from_center"]

    if params["all_wheels_on_track"] and room_m >= MARGIN_M:
        return 1.0
    return 1e-3
