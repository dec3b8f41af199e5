"""A sheet of camera frames that shows what domain randomisation does to them."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from contract.conditions import Conditions, RandomizationConfig
from contract.state import CAMERA_HEIGHT, CAMERA_WIDTH, ThingKind, Things, UInt8Array
from contract.vehicle import CAR_COLORS
from simapp.camera import Camera
from simapp.tracks import Track

SEEN = (
    *("light", "asphalt", "field", "lines", "walls", "texture"),
    *("camera_pitch_deg", "camera_yaw_deg", "camera_height_m", "camera_fov", "blur_px", "noise"),
)
"""The ranges of RandomizationConfig that show in a frame; the others change how the car drives."""

_COLUMNS = 6
_GAP, _LABEL, _TITLE = 8, 16, 34  # pixels: between frames, above each, above all
_DPI = 100


def sample_sheet(track: Track, config: RandomizationConfig, seed: int = 0, draws: int = 10) -> bytes:
    """PNG of labelled frames at their own size: the plain view, both ends of each range, and `draws` random ones.

    Views are spread along the lap, every second one with boxes and cars ahead. Grey, as the network sees them.
    """
    camera, random = Camera(track), np.random.default_rng(seed)
    cells: list[tuple[str, Conditions, float, bool]] = [
        ("plain", Conditions.nominal(1), 0.0, False),
        ("plain, with things", Conditions.nominal(1), 0.0, True),
        *((f"drawn {i + 1}", Conditions.drawn(config, random), i / draws, i % 2 == 0) for i in range(draws)),
    ]
    for name in SEEN:
        for value in getattr(config, name):
            conditions = Conditions.nominal(1)
            getattr(conditions, name)[:] = value
            conditions.seed[:] = seed
            cells.append((f"{name} {value:g}", conditions, 0.0, name in ("light", "blur_px")))
    frames = [_frame(camera, track, conditions, share, crowded) for _, conditions, share, crowded in cells]
    return _sheet([label for label, *_ in cells], frames, f"{track.name}: domain randomisation, one frame a cell")


def _frame(camera: Camera, track: Track, conditions: Conditions, share: float, crowded: bool) -> UInt8Array:
    """What a car sees at a share of the lap (track.length_m)."""
    along = share * track.length_m
    pose = track.pose_at(np.array([along]))
    things = _things_ahead(track, along) if crowded else None
    frames = camera.render(pose.x_m, pose.y_m, pose.heading_rad, things=things, conditions=conditions)
    return np.asarray(frames[0])


def _things_ahead(track: Track, along_m: float) -> Things:
    """A box, a car and another box, in alternate lanes."""
    ahead = np.array([0.9, 1.5, 2.6])
    lane = 0.25 * float(track.widths_m.min()) * np.array([-1.0, 1.0, -1.0])
    poses = track.pose_at((along_m + ahead) % track.length_m, lane)
    things = Things.none(1, ahead.size)
    things.kind[:] = (ThingKind.box, ThingKind.car, ThingKind.box)
    things.colour[:] = (0, CAR_COLORS.index("Red"), 0)
    things.x_m[:], things.y_m[:], things.heading_rad[:] = poses.x_m, poses.y_m, poses.heading_rad
    return things


def _sheet(labels: list[str], frames: list[UInt8Array], title: str) -> bytes:
    rows = -(-len(frames) // _COLUMNS)
    width = _COLUMNS * (CAMERA_WIDTH + _GAP) + _GAP
    height = rows * (CAMERA_HEIGHT + _LABEL + _GAP) + _TITLE
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def write(text: str, left: int, top: int, size: float) -> None:
        figure.text(left / width, 1.0 - top / height, text, fontsize=size, va="bottom", ha="left")

    write(title, _GAP, _TITLE - 10, 11.0)
    for i, (label, frame) in enumerate(zip(labels, frames, strict=True)):
        left = _GAP + i % _COLUMNS * (CAMERA_WIDTH + _GAP)
        top = _TITLE + i // _COLUMNS * (CAMERA_HEIGHT + _LABEL + _GAP) + _LABEL
        write(label, left, top - 3, 8.0)
        # three channels, since a colour map would change some greys by one
        figure.figimage(np.stack([frame] * 3, axis=-1), left, height - top - CAMERA_HEIGHT)
    page, png = io.BytesIO(), io.BytesIO()
    figure.savefig(page, format="png")
    # one channel: a third of the bytes
    Image.open(page).convert("L").save(png, format="png", optimize=True)
    return png.getvalue()
