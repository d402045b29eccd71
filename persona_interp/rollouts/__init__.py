"""Answers of a model to questions: contrastive, plain or steered."""
