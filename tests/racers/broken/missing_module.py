import cv2_racing_line
def reward_function(params):
    return cv2_racing_line.distance(params['x'], params['y'])
