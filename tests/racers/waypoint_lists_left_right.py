# tell the car on which side to be, waypoint by waypoint
LEFT = list(range(0, 20)) + list(range(60, 75))
RIGHT = [25, 26, 27, 28, 29, 30, 31, 32, 33]
FAST_ZONE = set(range(40, 58))

def reward_function(params):
    nearest = params['closest_waypoints'][0]
    left = params['is_left_of_center']
    reward = 1e-3
    if params['all_wheels_on_track']:
        reward = 1.0
        if nearest in LEFT and left: reward += 1.0
        elif nearest in RIGHT and not left: reward += 1.0
        elif params['distance_from_center'] < 0.2: reward += 0.5
        if nearest in FAST_ZONE and params['speed'] >= 2: reward += 1.0
    return float(reward)
