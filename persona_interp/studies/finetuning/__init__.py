"""Finetuning: how far training moves a model along directions, and what predicts it."""
