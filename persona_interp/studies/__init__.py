"""Studies: a question put to a model, from its configuration to its effects and claims, each in one folder."""
