"""Hooked language models with one low-level interface: `run` and `generate`."""
