"""Personality inventories by name or from a file."""

import json
from importlib import resources
from pathlib import Path

from persona_interp.arguments import checked
from persona_interp.data.inventory_files import inventory_from_dict, read_inventory, read_ipip_neo_120
from persona_interp.data.inventory_items import ForcedChoice, Inventory, Item, PoleOption, Scale, paired
from persona_interp.data.inventory_wordings import Wording
from persona_interp.errors import DataError
from persona_interp.files import is_file, is_folder

__all__ = [
    "ForcedChoice",
    "Inventory",
    "Item",
    "PoleOption",
    "Scale",
    "Wording",
    "list_inventories",
    "load_inventory",
    "paired",
    "read_ipip_neo_120",
]


def list_inventories() -> list[str]:
    """Names of the inventories that come with the package."""
    files = (file.name.removesuffix(".json") for file in _folder().iterdir() if file.name.endswith(".json"))
    return sorted(files)


@checked
def load_inventory(name: str | Path) -> Inventory:
    """An inventory of this package by name, or one from a user's file.

    A .json file has the package's own form; a .csv file has a row an item, with the columns `text,scale,key` (and
    `facet`) or `scale,text_a,pole_a,text_b,pole_b`; a .tgz file or a folder is the npm package of the IPIP-NEO-120.

    Raises:
        DataError: there is no such inventory, or its keys do not match its items.
        ArtefactError: the file cannot be read.
    """
    path = Path(name)
    if path.suffix == ".tgz" or is_folder(path):
        return read_ipip_neo_120(path)
    if path.suffix in (".json", ".csv") or is_file(path):
        return read_inventory(path)
    if str(name) not in list_inventories():
        raise DataError(
            f"no inventory is called {str(name)[:80]!r}.",
            f"Inventories of the package: {', '.join(list_inventories())}.",
            "Or give the path of a .json or .csv file.",
        )
    data = json.loads(_folder().joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return inventory_from_dict(data, source=str(name))


def _folder():
    return resources.files("persona_interp.data").joinpath("inventories")
