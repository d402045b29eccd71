"""A trained PsychAdapter: whether it uses the scores, what it makes a model write, and which direction it induces."""
