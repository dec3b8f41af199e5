# the car runs at 15 steps a second here: 12 s is 180 steps
FASTEST, STANDARD = 10.0, 14.0
LAST = {"t": 0.0, "p": 0.0}

def reward_function(params):
    t, p = params["sim_time"], params["progress"]
    if params["steps"] <= 1:
        LAST["t"], LAST["p"] = 0.0, p
    if params["is_offtrack"]:
        return 1e-3
    pace = (p - LAST["p"]) / max(1e-6, t - LAST["t"]) / (100.0 / STANDARD)
    LAST["t"], LAST["p"] = t, p
    reward = max(1e-3, min(2.0, pace))
    if p == 100:
        reward += max(0, (STANDARD - t) / (STANDARD - FASTEST)) * 20
    return reward
