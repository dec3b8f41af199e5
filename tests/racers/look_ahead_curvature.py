import math

SLOW, FAST = 1.2, 1.8

def bearing(a, b):
    return math.degrees(math.atan2(b[1] - a[1], b[0] - a[0]))

def turn_ahead(waypoints, i, k=6):
    n = len(waypoints)
    first = bearing(waypoints[i % n], waypoints[(i + 1) % n])
    last = bearing(waypoints[(i + k) % n], waypoints[(i + k + 1) % n])
    d = last - first
    while d > 180: d -= 360
    while d < -180: d += 360
    return d

def reward_function(params):
    if not params['all_wheels_on_track']:
        return float(1e-3)
    turn = abs(turn_ahead(params['waypoints'], params['closest_waypoints'][1]))
    straight = turn < 10
    speed = params['speed']
    reward = 1.0
    if straight and speed >= FAST: reward += 1.0
    if not straight and speed <= SLOW: reward += 0.5
    centre = 1 - (params['distance_from_center'] * 2 / params['track_width']) ** 2
    return float(reward * max(centre, 0.05))
