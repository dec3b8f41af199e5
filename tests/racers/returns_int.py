def reward_function(p):
    if p['is_offtrack']: return 0
    if p['distance_from_center'] < p['track_width'] / 4: return 2
    return 1
