"""Monitoring: projections over conditions, and token by token while a model answers."""
