def reward_function(params):
    ahead = params['waypoints'][params['closest_waypoints'][1] + 5]
    return 1.0 / (0.1 + abs(ahead[0] - params['x']))
