MAX_STEER = 0.26
def reward_function(params):
    r = 1.0 if params['all_wheels_on_track'] else 1e-3
    if abs(params['steering_angle']) > MAX_STEER:
        r *= 0.8
    if params['speed'] >= 3 and params['progress'] >= 1.0:
        r *= 2
    return r
