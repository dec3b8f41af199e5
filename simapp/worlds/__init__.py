"""Worlds as they are raced: the meshes, textures, lights and sky of a racer's own copy of AWS's simulator."""

from simapp.worlds.form import Light, Material, Scene, Visual, World, WorldPicture

__all__ = ["Light", "Material", "Scene", "Visual", "World", "WorldPicture"]
