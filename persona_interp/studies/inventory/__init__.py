"""Questionnaires put to a model as it is and as it was changed."""
