"""Figures of finetuning."""
