"""Sections of the report that one command's tables make, beside those of the main job."""

from pathlib import Path

from persona_interp.sections.inventory import inventory_section
from persona_interp.sections.psychadapter import psychadapter_section
from persona_interp.sections.section import Section
from persona_interp.sections.styles import styles_section

__all__ = ["Section", "sections_of"]


def sections_of(folder: Path) -> list[Section]:
    """A section for each of style vectors, PsychAdapters and inventories whose tables the folder holds.

    Raises:
        ArtefactError: a table is not in the expected form.
    """
    found = [make(folder) for make in (styles_section, psychadapter_section, inventory_section)]
    return [section for section in found if section is not None]
