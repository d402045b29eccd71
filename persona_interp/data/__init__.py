"""Traits and questions written for this project, and loaders for users' own."""
