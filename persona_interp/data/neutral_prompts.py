"""Everyday questions that suggest neither a trait nor a feeling: what a model says when nothing is asked of it."""

from pathlib import Path

from persona_interp.io import read_json

_FILE = Path(__file__).with_name("neutral_prompts.json")


def neutral_prompts() -> tuple[str, ...]:
    """Sixteen questions written for this project, about the house, the kitchen, plants and errands.

    None of them is a question of a trait, a style or a judge, so that nothing is measured on what they set.
    """
    return tuple(read_json(_FILE))
