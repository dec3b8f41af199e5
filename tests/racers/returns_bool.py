def reward_function(params):
    return params['all_wheels_on_track'] and params['distance_from_center'] < 0.3 * params['track_width']
