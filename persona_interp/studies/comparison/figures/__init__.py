"""Figures of the comparison of families, from its effects."""
