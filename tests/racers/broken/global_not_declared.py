last_speed = 0
def reward_function(params):
    change = params['speed'] - last_speed
    last_speed = params['speed']
    return 1.0 + change
