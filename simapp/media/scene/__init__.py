"""Our own 3-D renderer: the track and everything on it, for videos and the live page, without a GPU."""

from simapp.media.scene.bodies import Bodies
from simapp.media.scene.ground import ColourGround
from simapp.media.scene.renderer import SceneRenderer
from simapp.media.scene.views import VIEWS, followed

__all__ = ["VIEWS", "Bodies", "ColourGround", "SceneRenderer", "followed"]
