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
    """The battery with AUCs of held-out prompts, and whole prompts exchanged where others shuffle labels.

    Prompts are exchanged within those that have the same splits: trained and tested, trained alone, tested alone.
    The poles exchanged as a whole give the same AUC, so 252 arrangements give p of 2/252 at best. The family is called
    `shuffled_labels`. What random directions show is no chance: their p is at least that of the exchange.
    """
    strata = 2 * held.trained + held.tested
    others, exact = prompt_arrangements(held.positive, strata, n_draws, stream(seed, "prompts"))
    own = np.round(np.asarray(observed), 12)
    mirrored = exact and (others == ~held.positive).all(axis=1).any()
    exchanged = NullFamily("shuffled_labels", own, held.aucs(others), n_mirrored=int(mirrored))
    random = replace(battery["random_directions"], observed=own, least=exchanged.p_value)
    return NullBattery((exchanged, random, *(replace(family, observed=own) for family in _named(battery))))


def untested_battery(battery: NullBattery) -> NullBattery:
    """The battery of a single pair of prompts, where no test is possible: exchanged, it is its own mirror image."""
    own = battery["random_directions"].observed
    exchanged = NullFamily("shuffled_labels", own, np.zeros((0, len(own))))
    random = battery["random_directions"]
    return NullBattery((exchanged, replace(random, floor=1.0), *_named(battery)))


def _named(battery: NullBattery) -> list[NullFamily]:
    """The families of few members: other traits and components."""
    return [family for family in battery.families if family.family != "random_directions"]
