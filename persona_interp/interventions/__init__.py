"""Interventions: what produces edits of the residual stream."""
