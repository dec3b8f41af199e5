import numpy as np
def reward_function(params):
    return np.array([params['speed']]) / 4.0
