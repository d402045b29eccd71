"""Screening: training data at scale on persona vectors."""
