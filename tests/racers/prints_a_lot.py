import time
start = time.time()
def reward_function(params):
    reward = 1.0 - params['distance_from_center'] / params['track_width']
    print("step %d progress %.1f reward %.3f" % (params['steps'], params['progress'], reward))
    print("elapsed {}".format(time.time() - start))
    return max(reward, 0.001)
