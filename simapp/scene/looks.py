"""What videos add to the camera's world (simapp.camera.look): sky, light, and the materials of bodies."""

import numpy as np

from contract.state import FloatArray
from contract.vehicle import CAR_COLORS
from simapp.camera.look import CAR_RGB, FIELD_RGB, WALLS_RGB

SKY_LOW_RGB = np.array([214.0, 222.0, 228.0])
SKY_HIGH_RGB = np.array([126.0, 160.0, 196.0])
"""At the horizon, and 40 degrees above it."""
OUTSIDE_RGB = 0.45 * FIELD_RGB
"""The floor behind the walls."""
WALL_FACES_RGB = 1.3 * WALLS_RGB + np.array([16.0, 26.0, 30.0])
"""East, north, west, south; brighter than the camera's, some of which are all but black."""
WALL_CAP_RGB = np.array([92.0, 112.0, 122.0])

LIGHT = np.array([-0.36, -0.48, 0.80])
"""Where the light comes from, a unit vector: south-west, high."""
AMBIENT, DIFFUSE, SKYLIGHT = 0.55, 0.42, 0.10

PAINTS: FloatArray = np.stack([CAR_RGB[name] for name in CAR_COLORS])
"""(7, 3), by TrackObjects.colour."""
TYRE_RGB = (24.0, 24.0, 26.0)
RIM_RGB = (150.0, 152.0, 156.0)
GLASS_RGB = (22.0, 30.0, 40.0)
TRIM_RGB = (226.0, 228.0, 230.0)
HEADLIGHT_RGB = (255.0, 250.0, 224.0)
TAILLIGHT_RGB = (214.0, 30.0, 26.0)
TAPE_RGB = (206.0, 178.0, 138.0)
HALO_RGB = np.array([255.0, 255.0, 255.0])
