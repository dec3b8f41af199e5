from collections import deque
from statistics import pstdev

HISTORY = deque(maxlen=8)

def reward_function(params):
    if params['steps'] == 1:
        HISTORY.clear()
    HISTORY.append(params['steering_angle'])
    shake = pstdev(HISTORY) if len(HISTORY) > 1 else 0.0
    centre = 1.0 - min(1.0, 2 * params['distance_from_center'] / params['track_width'])
    return centre / (1.0 + shake / 15.0) + 0.001
