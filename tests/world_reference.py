"""What Gazebo 11 draws of an imported world, worked out the slow way and apart from the camera's code: a depth buffer
of all triangles at 640x480, textures in perspective with anisotropic trilinear filtering, light pixel by pixel, then
the resize of the real pipeline.

Shared with the camera are only the form of a world, the sky's greys and the pinhole's numbers.
"""

import math

import numpy as np
from numba import njit

from contract.state import FloatArray, IntArray, UInt8Array
from simapp.camera.pinhole import Pinhole
from simapp.worlds.form import World
from tests.camera_reference import shrink

GREY = np.array([0.299, 0.587, 0.114])
NEAR_M = 0.01
MIPS = 5
"""Smaller pictures of a texture that Gazebo makes (RenderEngine.cc: setDefaultNumMipmaps(5))."""
ANISOTROPY = 8


class WorldReference:
    """A world, drawn point by point."""

    def __init__(self, world: World) -> None:
        self.world = world
        pictures = [picture.pixels() for picture in world.pictures]
        self._flat, self._tables = _mip_tables([_rgba(pixels) for pixels in pictures])
        self._picture = np.array([m.picture for m in world.materials])[world.material]
        lit = np.array([m.is_lit for m in world.materials])
        self._colours = (
            np.array([m.diffuse for m in world.materials]),
            np.array([m.ambient for m in world.materials]),
            np.array([m.emission for m in world.materials]),
            np.array([m.specular for m in world.materials]),
            np.array([m.shininess for m in world.materials]),
            lit,
        )

    def picture(
        self, camera: Pinhole, x_m: float, y_m: float, heading_rad: float, sky: FloatArray
    ) -> tuple[FloatArray, IntArray]:
        """Grey picture (480, 640) over `sky` of that shape, and the triangle of each pixel or -1."""
        camera = camera.resized(640, 480)
        cos, sin = math.cos(heading_rad), math.sin(heading_rad)
        lens = np.array([x_m + camera.ahead_m * cos, y_m + camera.ahead_m * sin, camera.height_m])
        pitch_sin, pitch_cos = math.sin(camera.pitch_rad), math.cos(camera.pitch_rad)
        axes = np.array(
            [
                [cos * pitch_cos, sin * pitch_cos, -pitch_sin],  # along the optical axis
                [sin, -cos, 0.0],  # right
                [-cos * pitch_sin, -sin * pitch_sin, -pitch_cos],  # down
            ]
        )
        seen = (self.world.triangles.astype(np.float64) - lens) @ axes.T
        depth, name = np.zeros(sky.shape), np.full(sky.shape, -1, np.int64)
        grey = sky.astype(np.float64)
        _draw(camera.focal_px, seen, self.world.uv, self._picture, self._flat, self._tables, depth, name, grey)
        mask = name >= 0
        column, row = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
        ray = np.stack([np.full(sky.shape, camera.focal_px), column - 320, row - 240], axis=-1) / camera.focal_px
        point = lens + (ray[mask] / depth[mask][:, None]) @ axes
        grey[mask] = self._lit(point, lens, name[mask], grey[mask])
        return grey, name

    def frame(self, camera: Pinhole, x_m: float, y_m: float, heading_rad: float, sky: FloatArray) -> FloatArray:
        """The network's (120, 160) frame, unrounded."""
        return shrink(np.rint(self.picture(camera, x_m, y_m, heading_rad, sky)[0].clip(0, 255)))

    def _lit(self, point: FloatArray, lens: FloatArray, name: IntArray, texel: FloatArray) -> FloatArray:
        """Greys of points (P, 3) of triangles `name` with this grey of the texture."""
        world = self.world
        corners, normals = world.triangles[name].astype(np.float64), world.normals[name].astype(np.float64)
        weights = _barycentric(point, corners)
        normal = (weights[..., None] * normals).sum(axis=1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        material = world.material[name]
        diffuse, ambient, emission, specular, shininess, lit = (values[material] for values in self._colours)
        light = emission + ambient * np.array(world.scene.ambient)
        shine = np.zeros(len(point))
        view = lens - point
        view /= np.linalg.norm(view, axis=1, keepdims=True)
        for it in world.lights:
            if it.kind == "directional":
                towards, strength = np.broadcast_to(-np.array(it.direction), point.shape), np.ones(len(point))
            else:
                away = np.array(it.position) - point
                distance = np.linalg.norm(away, axis=1)
                towards = away / distance[:, None]
                strength = 1.0 / (it.constant + it.linear * distance + it.quadratic * distance**2)
                strength[distance > it.range_m] = 0.0
            facing = (normal * towards).sum(axis=1)
            light = light + (strength * facing.clip(0))[:, None] * np.array(it.diffuse) * it.intensity * diffuse
            half = towards + view
            half /= np.maximum(np.linalg.norm(half, axis=1, keepdims=True), 1e-12)
            shining = (shininess > 0) & (facing > 0)
            power = np.where(shining, (half * normal).sum(axis=1).clip(0) ** shininess, 0.0)
            shine += strength * power * ((np.array(it.specular) * specular) @ GREY)
        factor = np.where(lit[:, None], light, diffuse) @ GREY
        return np.asarray(np.minimum(texel * factor + 255.0 * shine, 255.0))


def _barycentric(point: FloatArray, corners: FloatArray) -> FloatArray:
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal**2).sum(axis=1), 1e-30)
    u = (np.cross(b - point, c - point) * normal).sum(axis=1) / area
    v = (np.cross(c - point, a - point) * normal).sum(axis=1) / area
    return np.stack([u, v, 1.0 - u - v], axis=1)


def _rgba(pixels: UInt8Array) -> FloatArray:
    """(H, W, 2) grey and alpha 0..1."""
    grey = pixels[..., :3] @ GREY
    alpha = pixels[..., 3] / 255.0 if pixels.shape[2] == 4 else np.ones(grey.shape)
    return np.stack([grey, alpha], axis=-1)


def _mip_tables(pictures: list[FloatArray]) -> tuple[FloatArray, IntArray]:
    """All mip levels end to end, and (P, MIPS + 1, 3) start, height, width of each."""
    parts, tables, place = [], np.zeros((len(pictures), MIPS + 1, 3), np.int64), 0
    for p, level in enumerate(pictures):
        for k in range(MIPS + 1):
            tables[p, k] = place, *level.shape[:2]
            parts.append(level.ravel())
            place += level.size
            if min(level.shape[:2]) > 1:
                height, width = level.shape[0] // 2, level.shape[1] // 2
                level = level[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 2).mean(axis=(1, 3))
    return np.concatenate(parts) if parts else np.zeros(0), tables


@njit(cache=True)
def _sample(flat, table, u, v, channel):  # type: ignore[no-untyped-def]
    start, height, width = table
    x, y = u * width - 0.5, v * height - 0.5
    column, row = math.floor(x), math.floor(y)
    right, down = x - column, y - row
    c0, c1, r0, r1 = column % width, (column + 1) % width, row % height, (row + 1) % height
    top = (
        flat[start + (r0 * width + c0) * 2 + channel] * (1 - right)
        + flat[start + (r0 * width + c1) * 2 + channel] * right
    )
    low = (
        flat[start + (r1 * width + c0) * 2 + channel] * (1 - right)
        + flat[start + (r1 * width + c1) * 2 + channel] * right
    )
    return top * (1 - down) + low * down


@njit(cache=True)
def _draw(focal, triangles, uv, picture, flat, tables, depth, name, grey):  # type: ignore[no-untyped-def]
    """depth (H, W) is 1 / distance along the axis of the nearest triangle; grey its texture's, 255 without one."""
    height, width = grey.shape
    corners = np.empty((4, 5))
    flat_corners = np.empty((4, 2))
    planes = np.empty((3, 3))
    for n in range(triangles.shape[0]):
        count = 0
        for i in range(3):
            j = (i + 1) % 3
            a, b = triangles[n, i], triangles[n, j]
            if a[0] >= NEAR_M:
                for q in range(3):
                    corners[count, q] = a[q]
                corners[count, 3], corners[count, 4] = uv[n, i, 0], uv[n, i, 1]
                count += 1
            if (a[0] >= NEAR_M) != (b[0] >= NEAR_M):
                t = (a[0] - NEAR_M) / (a[0] - b[0])
                for q in range(3):
                    corners[count, q] = a[q] + t * (b[q] - a[q])
                for q in range(2):
                    corners[count, 3 + q] = uv[n, i, q] + t * (uv[n, j, q] - uv[n, i, q])
                count += 1
        if count < 3:
            continue
        for i in range(count):
            flat_corners[i, 0] = width / 2 + focal * corners[i, 1] / corners[i, 0]
            flat_corners[i, 1] = height / 2 + focal * corners[i, 2] / corners[i, 0]
        for k in range(1, count - 1):
            x0, y0 = flat_corners[0]
            x1, y1 = flat_corners[k]
            x2, y2 = flat_corners[k + 1]
            area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
            if area == 0.0:
                continue
            left = max(math.floor(min(x0, x1, x2) - 0.5), 0)
            right = min(math.ceil(max(x0, x1, x2)), width)
            top = max(math.floor(min(y0, y1, y2) - 0.5), 0)
            low = min(math.ceil(max(y0, y1, y2)), height)
            if left >= right or top >= low:
                continue
            inverse = (1 / corners[0, 0], 1 / corners[k, 0], 1 / corners[k + 1, 0])
            for q in range(3):
                a0 = inverse[0] if q == 0 else corners[0, 2 + q] * inverse[0]
                a1 = inverse[1] if q == 0 else corners[k, 2 + q] * inverse[1]
                a2 = inverse[2] if q == 0 else corners[k + 1, 2 + q] * inverse[2]
                gx = ((a1 - a0) * (y2 - y0) - (a2 - a0) * (y1 - y0)) / area
                gy = ((a2 - a0) * (x1 - x0) - (a1 - a0) * (x2 - x0)) / area
                planes[q, 0], planes[q, 1], planes[q, 2] = a0 - gx * x0 - gy * y0, gx, gy
            for r in range(top, low):
                for c in range(left, right):
                    x, y = c + 0.5, r + 0.5
                    w0 = ((x1 - x) * (y2 - y) - (y1 - y) * (x2 - x)) / area
                    w1 = ((x2 - x) * (y0 - y) - (y2 - y) * (x0 - x)) / area
                    if w0 < 0 or w1 < 0 or w0 + w1 > 1:
                        continue
                    near = planes[0, 0] + planes[0, 1] * x + planes[0, 2] * y
                    if near <= depth[r, c] * (1 + 1e-7):
                        continue
                    value, alpha = 255.0, 1.0
                    if picture[n] >= 0:
                        value, alpha = _texel(flat, tables[picture[n]], planes, x, y, near)
                    if alpha < 0.5:
                        continue
                    depth[r, c], name[r, c], grey[r, c] = near, n, value


@njit(cache=True)
def _texel(flat, table, planes, x, y, near):  # type: ignore[no-untyped-def]
    """Grey and alpha of the texture where the pixel (x, y) is, by anisotropic trilinear filtering."""
    z = 1 / near
    height, width = table[0, 1], table[0, 2]
    u = (planes[1, 0] + planes[1, 1] * x + planes[1, 2] * y) * z
    v = (planes[2, 0] + planes[2, 1] * x + planes[2, 2] * y) * z
    ux, uy = (planes[1, 1] - u * planes[0, 1]) * z, (planes[1, 2] - u * planes[0, 2]) * z
    vx, vy = (planes[2, 1] - v * planes[0, 1]) * z, (planes[2, 2] - v * planes[0, 2]) * z
    across, down = math.hypot(ux * width, vx * height), math.hypot(uy * width, vy * height)
    longer, shorter = max(across, down), min(across, down)
    count = int(min(max(math.ceil(longer / max(shorter, 1e-9)), 1), ANISOTROPY))
    level = min(max(math.log2(max(longer / count, 1e-9)), 0.0), float(MIPS))
    first = int(level)
    second, share = min(first + 1, MIPS), level - first
    value, alpha = 0.0, 0.0
    for i in range(count):
        d = (i + 0.5) / count - 0.5
        su, sv = (u + d * ux, v + d * vx) if across >= down else (u + d * uy, v + d * vy)
        value += (1 - share) * _sample(flat, table[first], su, sv, 0) + share * _sample(flat, table[second], su, sv, 0)
        alpha += (1 - share) * _sample(flat, table[first], su, sv, 1) + share * _sample(flat, table[second], su, sv, 1)
    return value / count, alpha / count
