"""Rows of a data set on the Hugging Face hub, streamed; and which revision of it that is."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_interp.errors import DataError
from persona_interp.hub import ask_hub

_PREFIX = "hf://datasets/"
_PART = r"[\w-][\w.-]*"
_NAME = re.compile(rf"(?P<name>{_PART}/{_PART})(?:@(?P<revision>[\w./-]+))?(?::(?P<split>[\w.-]+))?")


@dataclass(frozen=True)
class HubSource:
    """A data set of the hub. A folder's path in place of the name is read by the same code.

    Args:
        split: None for the only split, or `train` where there are several.
        revision: a commit, branch or tag; None for the newest.
    """

    name: str
    split: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        """`org/name`, with revision and split where they were given."""
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{self.name}{revision}" + ("" if self.split is None else f":{self.split}")


def hub_source(source: str) -> HubSource | None:
    """`hf://datasets/org/name`, `org/name`, either with `@revision` and `:split`; None for anything else."""
    found = _NAME.fullmatch(source.removeprefix(_PREFIX))
    return None if found is None else HubSource(found["name"], found["split"], found["revision"])


def hub_rows(source: HubSource, start: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a data set from number `start` on, 0-based, without downloading all of it.

    Raises:
        DataError: it cannot be reached or opened, has no such split, or breaks off.
    """
    rows, k = _split(source), start
    try:
        for row in rows.skip(start) if start else rows:
            yield k, row
            k += 1
    except _failures() as error:
        raise DataError(
            f"the data set {source} broke off after row {k}: {error}", "Run the same command again to go on."
        ) from error


def hub_revision(source: HubSource) -> str | None:
    """The commit that the hub has for a data set now; None where the hub cannot be asked."""
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(source.name, revision=source.revision).sha
    except _failures():
        return None


def _failures() -> tuple[type[Exception], ...]:
    """What `datasets` and the hub's client raise where a data set is missing, broken or out of reach."""
    from datasets.exceptions import DatasetsError
    from httpx2 import HTTPError

    return OSError, ValueError, DatasetsError, HTTPError


def _split(source: HubSource) -> Any:
    """The streaming data set of one split."""
    from datasets import load_dataset

    here = Path(source.name).exists()  # asked for by a prefix of the hub, and yet a folder
    problem = None if here else ask_hub(source.name, "dataset", source.revision).problem
    if problem is not None:
        raise DataError(
            f"could not open the data set {source}: {problem}.",
            "Nothing on this machine has that path, so it was looked for on the Hugging Face hub.",
            "Check the name and the network, or download its files and give their folder.",
        )
    try:
        found = load_dataset(source.name, revision=source.revision, streaming=True)
    except _failures() as error:
        raise DataError(
            f"could not open the data set {source}: {error}",
            "Nothing on this machine has that path, so it was looked for on the Hugging Face hub.",
            "Check the name and the network, or download its files and give their folder.",
        ) from error
    names = [str(name) for name in found]
    wanted = source.split or (names[0] if len(names) == 1 else "train")
    if wanted not in names:
        reason = "no split was named" if source.split is None else f"it has no split {wanted!r}"
        raise DataError(
            f"could not choose from the data set {source}: {reason}.",
            f"Splits: {', '.join(names)}. Name one: {source.name}:{names[0]}.",
        )
    return found[wanted]
