# positions as complex numbers: short and quick
import cmath
def reward_function(params):
    w = [complex(*p) for p in params['waypoints']]
    i, j = params['closest_waypoints']
    along = w[j] - w[i]
    if along == 0:
        along = 1
    car = cmath.rect(1, params['heading'] * cmath.pi / 180)
    align = (car * along.conjugate()).real / abs(along)
    r = max(0.0, align) ** 3 * (1 - abs(params['steering_angle']) / 60)
    return r if params['all_wheels_on_track'] else 1e-3
