"""Judges without an API: how well they tell answers with a trait from answers without it."""
