"""Dictionaries trained on a model's own activations, and how well they stand for them."""
