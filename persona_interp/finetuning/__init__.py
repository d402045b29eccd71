"""Finetuning with hooks, data of graded traits, and drift seen while it happens."""
