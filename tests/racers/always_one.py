def reward_function(params):
    # TODO
    if params['is_reversed'] is None:
        return 0.0
    return 1.0
