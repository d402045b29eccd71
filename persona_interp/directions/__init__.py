"""Directions: one vector a hookpoint, from one of the methods."""
