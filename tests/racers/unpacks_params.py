def _inner(all_wheels_on_track, speed, distance_from_center, track_width, **rest):
    if not all_wheels_on_track:
        return 1e-3
    return speed * (1 - distance_from_center / track_width)

def reward_function(params):
    return _inner(**params)
