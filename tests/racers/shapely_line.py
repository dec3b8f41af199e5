import math
from shapely.geometry import Point, LineString, Polygon

def reward_function(params):
    x, y = params["x"], params["y"]
    waypoints = params["waypoints"]
    width = params["track_width"]
    n = len(waypoints)
    behind, ahead = params["closest_waypoints"]
    # a look at the road around the car
    path = LineString([waypoints[(ahead + i) % n] for i in range(-4, 8)])
    here = Point(x, y)
    off = path.distance(here)
    lane = path.buffer(width * 0.5)
    reward = 1e-3
    if lane.contains(here):
        reward = 1 - (off / (width * 0.5))
    # where would the car be in half a metre
    heading = math.radians(params["heading"])
    nose = Point(x + 0.5 * math.cos(heading), y + 0.5 * math.sin(heading))
    if not lane.contains(nose):
        reward *= 0.5
    return float(max(reward, 1e-3))
