"""What inventories will take: tokens of prompts and options to read."""

from collections.abc import Sequence

from persona_interp.data.inventories import Inventory, Item
from persona_interp.studies.plan import CHARACTERS, Step

_TEMPLATE, _ANSWER, _FIGURES_S = 15, 2, 5.0
_ITEM_S = 0.002
"""Seconds of tables, an item that is asked."""


def inventory_plan(
    inventories: Sequence[Inventory],
    *,
    n_conditions: int,
    orders: Sequence[str],
    wordings: Sequence[str] | None = None,
    respondents: Sequence[str] | None = None,
) -> list[Step]:
    """A step an inventory: items in every wording and order, for every respondent and condition."""
    people, steps, n_orders = respondents or ("",), [], len(dict.fromkeys(orders))
    for inventory in inventories:
        n, read = 0, 0
        for wording in inventory.wordings:
            if wordings is not None and wording.name not in wordings:
                continue
            for item in inventory.items:
                texts = list(wording.labels) if isinstance(item, Item) else [part.text for part in item.options]
                prompt = wording.prompt(texts, item.text if isinstance(item, Item) else "")
                asked = _TEMPLATE + len(prompt) // CHARACTERS
                if wording.format == "statement":  # its options are read once more, for what they are like anyway
                    n, read = n + 1, read + asked + 2 * sum(map(len, texts)) // CHARACTERS
                else:
                    n += n_orders
                    read += n_orders * (asked + len(texts) * _ANSWER)
        system = sum(map(len, people)) // CHARACTERS
        times = n_conditions * len(people)
        steps.append(Step(inventory.name, times * n, 0, times * read + n_conditions * n * system, times * n * _ITEM_S))
    return [*steps, Step("tables and figures", 0, other_s=_FIGURES_S)]
