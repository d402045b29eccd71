"""How much work a study is: sizes named by what they are for, those that are given, and what was cut in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_interp.sections.section import read_provenance
from persona_interp.studies.options import Effort

Efforts = Mapping[Effort, Mapping[str, Any]]
"""Sizes by effort; a size of None is all that there is."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a run, and the name of the effort that they began from."""

    effort: str
    values: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """The same as plain data, for provenance."""
        return {"effort": self.effort, "sizes": dict(self.values)}


def sizes_of(efforts: Efforts, effort: Effort, given: Mapping[str, Any]) -> Sizes:
    """The sizes of an effort, but what was given (not None) wins."""
    return Sizes(effort, {**efforts[effort], **{name: value for name, value in given.items() if value is not None}})


def cut_sentence(effort: str, sizes: Mapping[str, Any], standard: Mapping[str, Any], *, took_s: float = 0.0) -> str:
    """How much work a run was, how long it took, and what it left out of the standard size.

    Args:
        standard: what is compared; sizes that are not among them are not.
        took_s: seconds; 0: not known.
    """
    fewer = [
        f"{said(name)} {shown(sizes[name])} instead of {shown(whole)}"
        for name, whole in standard.items()
        if name in sizes and is_less(sizes[name], whole)
    ]
    took = f" It took {took_s / 60:.1f} minutes." if took_s else ""
    return f"Effort {effort}.{took}" + (f" Cut against standard: {', '.join(fewer)}." if fewer else "")


def cut_lines(sizes: Sizes, standard: Mapping[str, Any]) -> list[str]:
    """The same as a line of a command that has no report; none where the standard size is whole."""
    sentence = cut_sentence(sizes.effort, sizes.values, standard)
    return [] if sentence == cut_sentence("standard", {}, {}) else [sentence]


def cut_notes(folder: Path, study: str, efforts: Efforts) -> tuple[str, ...]:
    """The same of a run in a folder, as a note of its section; none of older results, or of sizes without a name."""
    record = read_provenance(folder, study).get("size")
    if not isinstance(record, Mapping) or record.get("effort") not in efforts or not isinstance(record["sizes"], dict):
        return ()
    return (cut_sentence(record["effort"], record["sizes"], efforts["standard"]),)


def named_effort(sizes: Sizes | None) -> str:
    """The effort as a plan's title has it; nothing where there is none."""
    return "" if sizes is None else f", effort {sizes.effort}"


def said(name: str) -> str:
    """The name of a size as it is said."""
    return name.replace("_", " ").removeprefix("n ")


def shown(value: Any) -> str:
    """A size as it is said."""
    if value is None:
        return "all"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def is_less(value: Any, whole: Any) -> bool:
    """Whether a size is less than another one."""
    if isinstance(value, list | tuple) and isinstance(whole, list | tuple):
        return len(value) < len(whole)
    if value is None or whole is None:
        return whole is None and value is not None
    if isinstance(value, int | float) and isinstance(whole, int | float):
        return value < whole
    return value == "chosen" and whole == "all"
