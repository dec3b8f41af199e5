def reward_function(params):
    reward = 1.0
    objs = params['objects_distance']
    if len(objs) > 0:
        ahead = params['closest_objects'][1]
        gap = objs[ahead] - params['projection_distance']
        if gap < 0:
            gap += params['track_length']
        closing = params['speed'] - params['objects_speed'][ahead]
        if gap < 1.0 and params['object_in_camera'] and closing > 0:
            same = params['objects_left_of_center'][ahead] == params['is_left_of_center']
            reward *= 0.3 if same else 1.2
    if params['is_crashed'] or params['is_offtrack']:
        reward = 1e-3
    return reward
