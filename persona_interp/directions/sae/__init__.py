"""Dictionaries of sparse latents (SAEs, transcoders) on a model's residual stream; alone here sae_lens is imported."""
