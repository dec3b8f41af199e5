"""The DeepRacer car in metres and radians, base_link frame: x ahead, y left (contract: vehicle and camera)."""

import math

WHEELBASE_M = 0.16397
REAR_AXLE_X_M = -0.081663
FRONT_AXLE_X_M = 0.082311
REAR_WHEEL_Y_M = 0.08105
FRONT_WHEEL_Y_M = 0.079601
FRONT_POINT_X_M = 0.14
"""What reward functions see as x, y lies this far ahead of base_link."""
LENGTH_M = 0.32352
WIDTH_M = 0.1961
HEIGHT_M = 0.20
"""Top of the body and its camera, for cars that others see."""
BOX_LENGTH_M, BOX_WIDTH_M, BOX_HEIGHT_M = 0.40, 0.40, 0.30
"""An obstacle box as it is seen; the height is ours."""
BOX_MARGIN_M = 0.1
"""What AWS's simulator adds to a box's length when it judges crashes: 0.5 m along the road, 0.4 m across
(track_geom/constants.py BOX_OBSTACLE_DIMENSION)."""
CAR_COLORS = ("Black", "Grey", "Blue", "Red", "Orange", "White", "Purple")
"""Values of CAR_COLOR, in the order that TrackObjects.colour counts."""
STEREO_BASE_M = 0.06
"""The stereo lenses lie half of this left and right of the single one's place."""
MAX_STEERING_RAD = math.radians(30.0)
MIN_SPEED_MPS = 0.1
MAX_SPEED_MPS = 4.0

BASE_LINK_HEIGHT_M = 0.023249
CAMERA_PITCH_RAD = 0.2618
CAMERA_HFOV_RAD = 1.13
_MOUNT_X_M, _MOUNT_Z_M = 0.091711, 0.080023
_LENS_X_M, _LENS_Z_M = 0.044755, 0.04
# the lens sits in the mount's frame, which is pitched down
CAMERA_X_M = _MOUNT_X_M + _LENS_X_M * math.cos(CAMERA_PITCH_RAD) + _LENS_Z_M * math.sin(CAMERA_PITCH_RAD)
CAMERA_HEIGHT_M = (
    BASE_LINK_HEIGHT_M + _MOUNT_Z_M + _LENS_Z_M * math.cos(CAMERA_PITCH_RAD) - _LENS_X_M * math.sin(CAMERA_PITCH_RAD)
)
