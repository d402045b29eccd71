"""The null battery where whole prompts are exchanged."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from persona_interp.statistics.null_families import NullBattery, NullFamily
from persona_interp.statistics.prompt_exchange import HeldOutPrompts, prompt_arrangements
from persona_interp.statistics.streams import stream


def exchanged_battery(
    battery: NullBattery, held: HeldOutPrompts, observed: Sequence[float], *, n_draws: int, seed: int = 0
) -> NullBattery:
    """The battery with AUCs of held-out prompts, and whole prompts exchanged in place of shuffled labels.

    Prompts are exchanged within those that have the same splits: trained and tested, trained alone, tested alone.
    The poles exchanged as a whole give the same AUC, so 252 arrangements give p of 2/252 at best. The family keeps
    its name, `shuffled_labels`. What random directions show is no chance: their p is at least that of the exchange.
    """
    strata = 2 * held.trained + held.tested
    others, exact = prompt_arrangements(held.positive, strata, n_draws, stream(seed, "prompts"))
    own = np.round(np.asarray(observed), 12)
    mirrored = exact and (others == ~held.positive).all(axis=1).any()
    exchanged = NullFamily("shuffled_labels", own, held.aucs(others), n_mirrored=int(mirrored))
    families = [
        exchanged
        if family.family == "shuffled_labels"
        else replace(
            family, observed=own, least=exchanged.p_value if family.family == "random_directions" else family.least
        )
        for family in battery.families
    ]
    return NullBattery(tuple(families))


def untested_battery(battery: NullBattery) -> NullBattery:
    """The battery of a single pair of prompts, whose only other arrangement is its mirror image: no test."""
    untested = {"shuffled_labels", "random_directions"}
    return NullBattery(
        tuple(replace(f, n_mirrored=f.n, least=1.0) if f.family in untested else f for f in battery.families)
    )
