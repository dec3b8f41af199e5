import math


class Reward:
    def __init__(self, verbose=False):
        self.first_racingpoint_index = None
        self.verbose = verbose

    def reward_function(self, params):

        def dist_2_points(x1, x2, y1, y2):
            return abs(abs(x1-x2)**2 + abs(y1-y2)**2)**0.5

        def closest_2_racing_points_index(racing_coords, car_coords):
            distances = []
            for i in range(len(racing_coords)):
                distances.append(dist_2_points(x1=racing_coords[i][0], x2=car_coords[0],
                                               y1=racing_coords[i][1], y2=car_coords[1]))
            closest_index = distances.index(min(distances))
            distances_no_closest = distances.copy()
            distances_no_closest[closest_index] = 999
            second_closest_index = distances_no_closest.index(min(distances_no_closest))
            return [closest_index, second_closest_index]

        def dist_to_racing_line(a, b, car):
            length = dist_2_points(a[0], b[0], a[1], b[1])
            try:
                return abs((b[0]-a[0])*(a[1]-car[1]) - (a[0]-car[0])*(b[1]-a[1])) / length
            except ZeroDivisionError:
                return 0.0

        # Optimal racing line: each row [x, y, speed, timeFromPreviousPoint]
        racing_track = [
            [0.0, 0.0, 1.6, 0.19468], [0.29539, 0.0618, 1.5, 0.19667], [0.59078, 0.11756, 1.5, 0.20035],
            [0.88617, 0.1618, 1.5, 0.20272], [1.18156, 0.19021, 1.4, 0.20388], [1.47695, 0.2, 1.4, 0.20388],
            [1.77235, 0.19021, 1.5, 0.20272], [2.06774, 0.1618, 1.5, 0.19846], [2.36313, 0.11756, 1.4, 0.21211],
            [2.65576, 0.06622, 1.1, 0.25304], [2.94303, 0.07555, 1.1, 0.2857], [3.22824, 0.19347, 1.1, 0.30208],
            [3.46411, 0.42189, 1.1, 0.31498], [3.60224, 0.7375, 1.1, 0.32392], [3.60793, 1.09341, 1.1, 0.32849],
            [3.47208, 1.4288, 1.1, 0.32849], [3.21579, 1.68425, 1.1, 0.32237], [2.88561, 1.81724, 1.2, 0.28521],
            [2.54992, 1.81752, 1.4, 0.21787], [2.25447, 1.7618, 1.6, 0.19115], [1.95908, 1.7, 1.4, 0.2149],
            [1.66254, 1.63906, 1.2, 0.27652], [1.33442, 1.62897, 1.1, 0.31029], [1.00901, 1.74168, 1.1, 0.31891],
            [0.74072, 1.97319, 1.1, 0.31394], [0.57605, 2.29209, 1.2, 0.24692], [0.5237, 2.59589, 1.5, 0.18065],
            [0.5019, 2.8658, 1.2, 0.22091], [0.43973, 3.11324, 1.1, 0.25164], [0.29628, 3.3474, 1.1, 0.26929],
            [0.069, 3.53621, 1.1, 0.27913], [-0.21769, 3.64268, 1.2, 0.27665], [-0.54245, 3.64281, 1.3, 0.22907],
            [-0.84476, 3.58104, 1.5, 0.20256], [-1.13205, 3.5067, 1.4, 0.20388], [-1.41298, 3.41487, 1.4, 0.20388],
            [-1.68721, 3.30464, 1.5, 0.20272], [-1.95507, 3.17692, 1.5, 0.20035], [-2.21751, 3.03431, 1.5, 0.19667],
            [-2.47602, 2.88089, 1.6, 0.19216], [-2.73246, 2.72179, 1.4, 0.21236], [-2.98807, 2.56206, 1.2, 0.23129],
            [-3.1939, 2.38207, 1.1, 0.2293], [-3.32699, 2.1686, 1.1, 0.21476], [-3.39363, 1.94129, 1.1, 0.20614],
            [-3.40146, 1.71266, 1.1, 0.20556], [-3.35416, 1.48886, 1.2, 0.20049], [-3.24592, 1.26707, 1.5, 0.19524],
            [-3.09034, 1.01252, 1.5, 0.19649], [-2.94318, 0.7504, 1.5, 0.19826], [-2.80057, 0.48445, 1.3, 0.241],
            [-2.6325, 0.22508, 1.2, 0.27451], [-2.39286, 0.00865, 1.2, 0.28319], [-2.09219, -0.1354, 1.3, 0.25952],
            [-1.77235, -0.19021, 1.4, 0.21408], [-1.47695, -0.2, 1.4, 0.20388], [-1.18156, -0.19021, 1.5, 0.20272],
            [-0.88617, -0.1618, 1.5, 0.20035], [-0.59078, -0.11756, 1.5, 0.19667], [-0.29539, -0.0618, 1.6, 0.19468],
        ]

        x, y = params['x'], params['y']
        i, j = closest_2_racing_points_index(racing_track, [x, y])
        optimals = racing_track[i]
        if params['steps'] <= 1:
            self.first_racingpoint_index = i

        reward = 1.0
        dist = dist_to_racing_line(optimals[0:2], racing_track[j][0:2], [x, y])
        distance_reward = max(1e-3, 1 - (dist / (params['track_width'] * 0.5)))
        reward += distance_reward * 1

        speed_diff = abs(optimals[2] - params['speed'])
        if speed_diff <= 0.5:
            reward += (1 - (speed_diff / 0.5)**2)**2 * 2
        if params['is_offtrack']:
            reward = 1e-3
        if self.verbose:
            print("closest %i" % i)
        return float(reward)


reward_object = Reward()  # add parameter verbose=True to get noisy output for testing


def reward_function(params):
    return reward_object.reward_function(params)
