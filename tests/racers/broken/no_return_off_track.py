def reward_function(params):
    if params['all_wheels_on_track']:
        return 1.0
    elif params['distance_from_center'] < 0.1:
        return 0.5
