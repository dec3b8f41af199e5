import math


class PARAMS:
    prev_speed = None
    prev_steering_angle = None
    prev_steps = None
    prev_direction_diff = None
    intermediate_progress = [0] * 11


class Reward:
    def __init__(self, verbose=False):
        self.first_racingpoint_index = None
        self.verbose = verbose

    def direction(self, a, b):
        return math.degrees(math.atan2(b[1] - a[1], b[0] - a[0]))

    def reward_function(self, params):
        if PARAMS.prev_steps is None or params["steps"] < PARAMS.prev_steps:
            PARAMS.prev_speed = None
            PARAMS.intermediate_progress = [0] * 11

        wp = params["waypoints"]
        behind, ahead = params["closest_waypoints"]
        diff = self.direction(wp[behind], wp[ahead]) - params["heading"]
        diff = abs((diff + 180) % 360 - 180)
        heading_reward = math.cos(abs(math.radians(diff))) ** 10
        distance_reward = max(1e-3, 1 - (params["distance_from_center"] / (params["track_width"] / 2)) ** 2)
        HEADING_WEIGHT = 1.0
        IC = (heading_reward + distance_reward) ** 2 + heading_reward * distance_reward * HEADING_WEIGHT

        LC = 0
        if params["progress"] == 100:
            LC = 50
        pi = int(params["progress"] // 10)
        if pi != 0 and PARAMS.intermediate_progress[pi] == 0:
            PARAMS.intermediate_progress[pi] = 1
            LC += 5

        if PARAMS.prev_speed is not None and PARAMS.prev_speed > params["speed"]:
            IC *= 0.9
        PARAMS.prev_speed = params["speed"]
        PARAMS.prev_steps = params["steps"]
        if not params["all_wheels_on_track"] or diff >= 40:
            return 1e-3
        if self.verbose:
            print(IC, LC)
        return max(IC + LC, 1e-3)


reward_object = Reward()


def reward_function(params):
    return reward_object.reward_function(params)
