def reward_function(params):
    reward = -1.0
    if not params['all_wheels_on_track']:
        reward = -5.0
    reward -= params['distance_from_center']
    return reward
