from racing_math import centre_share

def reward_function(params):
    return centre_share(params) if params['all_wheels_on_track'] else 1e-3
