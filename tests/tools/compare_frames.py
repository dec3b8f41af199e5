"""Puts our camera beside frames of the real simulator: python -m tests.tools.compare_frames OUT.png

Finds the pose of each reference frame by search over the track, prints how alike the pictures are, and writes one
picture: reference, ours in colour, and both as the network sees them. The reference frames stand beside a development
checkout (../shared/reference) and their pictures stay out of the project.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, minimum_filter

from contract.state import FloatArray, UInt8Array
from simapp.camera import Camera
from simapp.camera.look import GREY
from simapp.tracks import Track, load_track
from tests.camera_picture import render_rgb
from tests.camera_reference import ssim
from tests.conftest import REPO

REFERENCE = REPO.parent / "shared" / "reference"
TRACK = "tracks/reinvent_base.npy"
WALLS_BELOW = 35
"""Every wall is darker than this grey, and nothing else is."""


def network_frame(picture: Image.Image) -> FloatArray:
    """(120, 160) grey as the network gets it from the 640x480 camera."""
    small = np.asarray(picture.convert("RGB").resize((160, 120), Image.Resampling.BILINEAR), dtype=np.float64)
    return np.asarray(small @ GREY)


def find_pose(camera: Camera, track: Track, frame: FloatArray) -> FloatArray:
    """x, y, heading of the frame's best match: all along the track both ways, then ever nearer around the best few."""
    distance, offset, turn, back = np.meshgrid(
        np.arange(0.0, track.length_m, 0.1), np.linspace(-0.36, 0.36, 7), np.linspace(-0.8, 0.8, 13), [0.0, np.pi]
    )
    start = track.pose_at(distance.ravel(), offset.ravel())
    poses = np.column_stack([start.x_m, start.y_m, start.heading_rad + turn.ravel() + back.ravel()])
    scores = _misfit(camera, poses, frame, blur_px=4.0)
    order, starts = np.argsort(scores), poses[:0]
    for pose in poses[order]:
        if len(starts) < 10 and np.all(np.hypot(*(starts - pose)[:, :2].T) > 0.3):
            starts = np.vstack([starts, pose])
    found = [_refined(camera, pose, frame) for pose in starts]
    return min(found, key=lambda pair: pair[0])[1]


def _refined(camera: Camera, pose: FloatArray, frame: FloatArray) -> tuple[float, FloatArray]:
    rng = np.random.default_rng(0)
    best, spread, blur = pose[None], 0.08, 3.0
    while spread > 5e-4:
        trial = np.concatenate([best, np.repeat(best, 240 // len(best), axis=0) + rng.normal(0, spread, (240, 3))])
        scores = _misfit(camera, trial, frame, blur)
        best = trial[np.argsort(scores)[:8]]
        spread, blur = spread * 0.75, max(blur * 0.8, 0.7)
    return float(scores.min()), best[0]


def _misfit(camera: Camera, poses: FloatArray, frame: FloatArray, blur_px: float) -> FloatArray:
    """Mean difference, both blurred so that near misses score; the real walls' shades change from frame to frame."""
    target = gaussian_filter(np.maximum(frame, WALLS_BELOW), blur_px)
    scores = []
    for part in np.array_split(poses, max(len(poses) // 512, 1)):
        ours = np.maximum(camera.render(*part.T), WALLS_BELOW).astype(np.float32)
        scores.append(abs(gaussian_filter(ours, (0, blur_px, blur_px)) - target).mean(axis=(1, 2)))
    return np.concatenate(scores)


def texture(picture: UInt8Array, frame: FloatArray, colour: FloatArray) -> str:
    """Grey mean and deviation of one surface in the network's frame, by bands of rows from far to near; the colour
    picture of the same view tells where the surface is.
    """
    alike = minimum_filter(abs(picture - colour).sum(axis=-1) < 75, size=9)[2::4, 2::4]
    shown = []
    for top, bottom in ((37, 50), (50, 70), (70, 95), (95, 120)):
        values = frame[top:bottom][alike[top:bottom]]
        shown.append(f"{values.mean():6.1f} ±{values.std():5.2f}" if values.size > 60 else " " * 13)
    return "  ".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    track = load_track(str(REFERENCE / TRACK))
    camera = Camera(track)
    frames = sorted((REFERENCE / "frames").glob("*.png"))
    sheet = Image.new("RGB", (640 * len(frames), 480 * 2 + 240))
    for i, path in enumerate(frames):
        real = Image.open(path).convert("RGB")
        seen = network_frame(real)
        pose = find_pose(camera, track, seen)
        ours = render_rgb(camera, *pose)
        frame = camera.render(*pose[:, None])[0]
        print(
            f"{path.name}: x {pose[0]:.3f}  y {pose[1]:.3f}  heading {pose[2]:.4f}  "
            f"mean difference {abs(frame - seen).mean():.2f}  SSIM {ssim(frame, seen):.3f}"
        )
        for name, colour in (("asphalt", [42, 56, 73]), ("line", [213, 212, 208]), ("field", [106, 151, 116])):
            print(f"  {name:8} theirs {texture(np.asarray(real), seen, np.array(colour))}")
            print(f"  {'':8} ours   {texture(ours, frame.astype(np.float64), np.array(colour))}")
        sheet.paste(real, (640 * i, 0))
        sheet.paste(Image.fromarray(ours), (640 * i, 480))
        for j, grey in enumerate((seen.round().astype(np.uint8), frame)):
            sheet.paste(Image.fromarray(grey).resize((320, 240), Image.Resampling.NEAREST), (640 * i + 320 * j, 960))
    sheet.save(out)


if __name__ == "__main__":
    main()
