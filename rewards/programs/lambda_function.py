"""follow_center_line as an AWS Lambda function: all cars of a step in one invocation, one reward each."""


def reward_function(params):
    share = params["distance_from_center"] / params["track_width"]
    return 1.0 if share <= 0.10 else 0.5 if share <= 0.25 else 0.1 if share <= 0.50 else 1e-3


def lambda_handler(event, context):
    # a function remembers nothing between invocations, so `waypoints` come in each of them
    rewards = [reward_function({**params, "waypoints": event["waypoints"]}) for params in event["params"]]
    return {"id": event["id"], "rewards": rewards}
