# the classic: atan2 gives radians, heading is in degrees
import math
def reward_function(params):
    wp, cw = params['waypoints'], params['closest_waypoints']
    dx = wp[cw[1]][0] - wp[cw[0]][0]
    dy = wp[cw[1]][1] - wp[cw[0]][1]
    track_direction = math.atan2(dy, dx)
    diff = abs(track_direction - params['heading'])
    if diff > 10:
        return 0.5
    return 1.0
