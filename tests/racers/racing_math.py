# helper beside the reward function
def centre_share(params):
    return max(1e-3, 1 - 2 * params['distance_from_center'] / params['track_width'])
