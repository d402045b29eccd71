"""Figures of an adapter."""
