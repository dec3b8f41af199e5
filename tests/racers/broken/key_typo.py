def reward_function(params):
    if params['distance_from_centre'] < 0.1:
        return 1.0
    return 0.1
