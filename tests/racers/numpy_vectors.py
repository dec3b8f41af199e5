import numpy as np

def angle_between(v1, v2):
    v1_u = v1 / np.linalg.norm(v1)
    v2_u = v2 / np.linalg.norm(v2)
    return np.arccos(np.clip(np.dot(v1_u, v2_u), -1.0, 1.0))

def reward_function(params):
    wps = np.array(params['waypoints'])
    i = params['closest_waypoints'][1]
    ahead = wps[(i + 3) % len(wps)]
    pos = np.array([params['x'], params['y']])
    h = np.deg2rad(params['heading'])
    car = np.array([np.cos(h), np.sin(h)])
    err = angle_between(ahead - pos, car)
    reward = np.exp(-(err ** 2) / 0.2)
    reward = reward * (0.5 + params['speed'] / 4.0)
    if params['is_offtrack'] or params['is_crashed']:
        reward = 0.001
    return reward   # a numpy.float64
