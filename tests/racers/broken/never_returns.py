def reward_function(params):
    angle = params['heading']
    while angle != 0:
        angle = angle - 360 if angle > 180 else angle
    return 1.0
