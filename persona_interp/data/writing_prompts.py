"""What to write about, for personality to show in how it is written: neutral prompts, and openings of plain text."""

from pathlib import Path

from persona_interp.io import read_json

JUDGED_AS = "What is on your mind?"
"""The question that judges see in front of every such text, the same for all, so that only the text differs."""

_FILE = Path(__file__).with_name("writing_prompts.json")


def writing_prompts() -> tuple[str, ...]:
    """Requests for a diary entry, a status message, a short post, ...; none suggests a trait or a feeling."""
    return tuple(read_json(_FILE)["prompts"])


def text_openings() -> tuple[str, ...]:
    """The first words of texts that a model then continues; none suggests a trait or a feeling."""
    return tuple(read_json(_FILE)["openings"])
