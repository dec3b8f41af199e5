import math, functools
clamp = lambda v, lo=1e-3, hi=1.0: max(lo, min(hi, v))
gauss = lambda v, s: math.exp(-0.5 * (v / s) ** 2)
TERMS = [
    (3, lambda p: gauss(p['distance_from_center'], p['track_width'] / 6)),
    (2, lambda p: p['speed'] / 4),
    (1, lambda p: gauss(p['steering_angle'], 20)),
]
reward_function = lambda params: clamp(functools.reduce(lambda a, t: a + t[0] * t[1](params), TERMS, 0) / 6) \
    if params['all_wheels_on_track'] else 1e-3
