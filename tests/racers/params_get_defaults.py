def reward_function(params):
    on_track = params.get('all_wheels_on_track', True)
    dist = params.get('distance_from_center', 0.0)
    width = params.get('track_width', 0.76)
    speed = params.get('speed', 1.0)
    offtrack = params.get('is_offtrack', False)
    if offtrack or not on_track:
        return 1e-3
    r = 1 - (dist / (0.5 * width)) ** 0.4
    return float(max(r, 0.01) + 0.2 * speed)
