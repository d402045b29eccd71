"""Figures of a trait's substrates."""
