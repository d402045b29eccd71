"""Figures of the main job."""
