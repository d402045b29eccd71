"""Questions put to a model, each in one folder, from its configuration to its section in the report."""
