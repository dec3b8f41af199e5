import random
def reward_function(params):
    noise = random.uniform(0.95, 1.05)
    if not params['all_wheels_on_track']:
        return 1e-3
    return noise * (1 - params['distance_from_center'] / params['track_width'])
