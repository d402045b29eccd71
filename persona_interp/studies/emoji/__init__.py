"""Emoji: whether finetuning on texts of a trait that hold none raises them, and which neurons write them."""
