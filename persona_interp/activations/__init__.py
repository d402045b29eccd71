"""Pooled activations of a set of samples."""
