"""Layer by layer: where a trait can be read, and where it can be controlled."""
