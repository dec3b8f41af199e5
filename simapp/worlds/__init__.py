"""Worlds as they are raced: the meshes, textures, lights and sky of a racer's own copy of AWS's simulator."""

from simapp.worlds.form import Light, Material, Picture, Scene, Visual, World

__all__ = ["Light", "Material", "Picture", "Scene", "Visual", "World"]
