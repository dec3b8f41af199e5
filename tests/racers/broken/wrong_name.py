def reward_func(params):
    return 1.0 - params['distance_from_center']
