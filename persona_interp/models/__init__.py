"""Hooked language models behind one low seam: `run` and `generate`."""
