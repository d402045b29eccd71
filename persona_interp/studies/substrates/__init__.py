"""A trait as a direction, as latents of a dictionary, as neurons and as heads: who writes it, and what removes it."""
