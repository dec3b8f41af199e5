"""Our own 3-D renderer: the track and everything on it, for videos and the live page, without a GPU."""

from simapp.scene.bodies import Bodies
from simapp.scene.ground import ColourGround
from simapp.scene.renderer import SceneRenderer
from simapp.scene.views import VIEWS, followed

__all__ = ["VIEWS", "Bodies", "ColourGround", "SceneRenderer", "followed"]
