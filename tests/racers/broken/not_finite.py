import numpy as np
def reward_function(params):
    return -np.log(np.maximum(0.0, params['distance_from_center'] - params['distance_from_center']))
