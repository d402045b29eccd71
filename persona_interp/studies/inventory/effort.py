"""How much work inventories are: three sizes."""

from dataclasses import replace
from types import MappingProxyType

from persona_interp.data.inventories import Inventory
from persona_interp.studies.sizes import Efforts

EFFORTS: Efforts = MappingProxyType(
    {
        "quick": {"n_wordings": 1, "orders": ("given", "reversed")},
        "standard": {"n_wordings": None, "orders": ("given", "reversed")},
        "paper": {"n_wordings": None, "orders": ("given", "reversed", "shuffled")},
    }
)
"""Wordings of each inventory, from the first, and orders of the options. `paper` is all there is: none is published."""


def first_wordings(inventory: Inventory, n: int | None) -> Inventory:
    """The inventory with its first wordings alone; None: all of them."""
    return inventory if n is None else replace(inventory, wordings=inventory.wordings[:n])
