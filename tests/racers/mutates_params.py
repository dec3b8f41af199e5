def reward_function(params):
    params['error'] = params['distance_from_center'] / (0.5 * params['track_width'])
    params['waypoints'].append(params['waypoints'][0])
    del params['sim_time']
    return shape(params)

def shape(params):
    return max(1e-3, 1 - params['error'])
