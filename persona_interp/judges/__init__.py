"""Judges of trait expression and coherence, most of which need no API."""
