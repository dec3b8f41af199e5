"""How bright Gazebo 11 shows a world's surfaces: its lights, worked out at points, as factors of a grey texture.

colour = texture * (emission + scene's ambient * ambient + sum of light * diffuse * max(N . L, 0) * falloff), cut off at
white only at the end (gazebo/rendering/RTShaderSystem.cc: per-pixel lighting; Ogre's SGXLib_PerPixelLighting).
Highlights, which depend on where the lens is, are left out: at most 4 grey levels in recorded frames.
"""

import math

import numpy as np
from numpy.typing import NDArray

from contract.state import FloatArray, UInt8Array
from simapp.worlds.form import Light, World

GREY = np.array([0.299, 0.587, 0.114])
"""RGB -> grey."""


def light_at(lights: tuple[Light, ...], points: FloatArray, normals: FloatArray) -> FloatArray:
    """Light (..., 3) RGB that falls on points (..., 3) with unit normals (..., 3)."""
    total = np.zeros(points.shape)
    for light in lights:
        if light.kind == "directional":
            facing = -(normals @ np.array(light.direction))
            strength = np.ones(points.shape[:-1])
        else:
            away = np.array(light.position) - points
            distance = np.maximum(np.linalg.norm(away, axis=-1), 1e-9)
            facing = (normals * away).sum(axis=-1) / distance
            falloff = light.constant + light.linear * distance + light.quadratic * distance**2
            strength = (distance <= light.range_m) / np.maximum(falloff, 1e-9)
            if light.kind == "spot":
                strength = strength * _spot(light, away / distance[..., None])
        total += (strength * facing.clip(0.0))[..., None] * np.array(light.diffuse) * light.intensity
    return total


def _spot(light: Light, towards: FloatArray) -> FloatArray:
    """Share 0..1 of a spot's light, as Direct3D and Ogre fade it between the inner and the outer angle."""
    cosine = -(towards @ np.array(light.direction))
    inner, outer = math.cos(light.inner_rad / 2), math.cos(light.outer_rad / 2)
    share = ((cosine - outer) / max(inner - outer, 1e-9)).clip(0.0, 1.0)
    return np.asarray(share ** max(light.falloff, 1e-9))


class Surfaces:
    """The grey factors of a world's materials; `means` (M, 3) are the mean colours 0..1 of their textures."""

    def __init__(self, world: World, means: FloatArray) -> None:
        materials = world.materials
        weights = GREY * means
        self._weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
        black = means.sum(axis=1) <= 0.0
        self._weights[black] = GREY
        # without a texture the diffuse colour's own grey counts: the texture is white
        self._diffuse = np.array([m.diffuse for m in materials]).reshape(-1, 3)
        self._constant = np.array(
            [np.add(m.emission, np.multiply(m.ambient, world.scene.ambient)) for m in materials]
        ).reshape(-1, 3)
        self._lit = np.array([m.is_lit for m in materials], np.bool_)

    def factors(self, material: NDArray[np.int32], light: FloatArray) -> FloatArray:
        """Factors (...) of the grey textures of materials (...) in this light (..., 3)."""
        lit = self._constant[material] + self._diffuse[material] * light
        colour = np.where(self._lit[material][..., None], lit, self._diffuse[material])
        return np.asarray((colour * self._weights[material]).sum(axis=-1))


def grey_of(pixels: UInt8Array) -> FloatArray:
    """(H, W) float32 grey 0..255 of (H, W, 3 or 4) pixels."""
    return np.asarray(pixels[..., :3] @ GREY.astype(np.float32), dtype=np.float32)


def alpha_of(pixels: UInt8Array) -> UInt8Array:
    """(H, W) uint8 alpha, 255 where the picture has none."""
    return pixels[..., 3] if pixels.shape[2] == 4 else np.full(pixels.shape[:2], 255, np.uint8)
