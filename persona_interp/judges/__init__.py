"""Judges of trait expression and coherence that need no API."""
