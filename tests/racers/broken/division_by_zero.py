def reward_function(params):
    # parked exactly on full progress of the first step
    return params['speed'] / (1.0 - params['is_offtrack']) + params['progress'] / 100
