def reward_function(params):
    if params['is_offtrack']:
        return 1e-3
    if params['progress'] == 100:
        return 100000.0
    return 0.1 + params['speed'] * 0.1
