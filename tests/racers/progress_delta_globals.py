# remembers the last step's progress in a global, reset at the start of each episode
prev_progress = 0
prev_steps = 0
best_so_far = {}

def reward_function(params):
    global prev_progress, prev_steps
    if params["steps"] < prev_steps:
        prev_progress = 0
    gained = params["progress"] - prev_progress
    prev_progress = params["progress"]
    prev_steps = params["steps"]
    bucket = int(params["progress"] // 10)
    if bucket not in best_so_far or params["steps"] < best_so_far[bucket]:
        best_so_far[bucket] = params["steps"]
    if not params["all_wheels_on_track"]:
        return 1e-3
    return max(1e-3, gained)
