"""Inventories: questionnaires by log-probabilities, with and without a change of the model."""
