"""Figures of monitoring."""
