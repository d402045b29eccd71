"""High against low of traits: what moves in an inventory, and whether it is the trait's own scale."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.statistics.draws import LEAST_FOR_A_RANGE
from persona_interp.statistics.families import corrected
from persona_interp.statistics.permutation import permutation_p_value
from persona_interp.studies.inventory.answers import InventoryAnswers
from persona_interp.studies.inventory.draws import interval, scale_draws, scale_score
from persona_interp.studies.inventory.scores import Measure, ScaleAnswers, scales_of

ALL = "all"
PROMPT, VECTOR, RANDOM, ADAPTER = "system prompt", "persona vector", "random direction", "adapter"
"""How a trait is made high and low."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """High against low of one trait (or both signs of a random direction), in one inventory."""

    method: str
    trait: str
    high: InventoryAnswers
    low: InventoryAnswers

    def changes(self) -> Iterator[tuple[ScaleAnswers, np.ndarray]]:
        """High minus low for every scale: [item, wording], log-odds of choices and points of ratings."""
        measure: Measure = "keyed" if self.high.inventory.kind == "likert" else "log_odds"
        for high, low in zip(scales_of(self.high), scales_of(self.low), strict=True):
            yield high, getattr(high, measure) - getattr(low, measure)


def movement_table(contrasts: Sequence[Contrast], *, n_resamples: int, seed: int) -> pd.DataFrame:
    """One row a method, trait and scale: high minus low, interval over items and wordings, null of random ones."""
    rows = []
    for contrast in contrasts:
        for part, change in contrast.changes():
            found = part.interval(change, n_resamples=n_resamples, seed=seed)
            rows.append({**_about(contrast, part), "trait": contrast.trait, "scale": part.scale, **found.row})
    table = pd.DataFrame(rows)
    of_random = table[table["method"] == RANDOM].groupby(["model", "scale"])["estimate"]
    random = {key: draws.to_numpy() for key, draws in of_random if len(draws) >= LEAST_FOR_A_RANGE}  # fewer are shown
    cells = zip(table["method"], table["model"], table["scale"], strict=True)
    draws = [random.get((model, scale)) if method == VECTOR else None for method, model, scale in cells]
    null_low, null_high = (
        [float("nan") if some is None else float(np.quantile(some, level)) for some in draws]
        for level in (0.025, 0.975)
    )
    return table.assign(null_low=null_low, null_high=null_high)


def validity_table(contrasts: Sequence[Contrast], *, n_resamples: int, seed: int) -> pd.DataFrame:
    """One row a method, format and scale: what its own trait moves it minus what the other traits move it.

    For `all`, the mean over scales; `p` is the share of assignments of traits to scales whose mean movement on the
    diagonal is at least as large, and `q` corrects it over the table (Benjamini-Hochberg).
    """
    groups: dict[tuple[str, str, str], list[Contrast]] = {}
    for contrast in contrasts:
        if contrast.method != RANDOM:
            groups.setdefault((contrast.high.model, contrast.method, contrast.high.inventory.name), []).append(contrast)
    rows = []
    for group in groups.values():
        changes = {c.trait: {part.scale: (part, change) for part, change in c.changes()} for c in group}
        if len(changes) > 1:
            rows += _validity(group[0], changes, n_resamples, seed)
    return corrected(pd.DataFrame(rows))


def _validity(
    contrast: Contrast,
    changes: Mapping[str, Mapping[str, tuple[ScaleAnswers, np.ndarray]]],
    n_resamples: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    scores, draws, traits = [], [], list(changes)
    about: dict[str, Any] = {}
    for trait in traits:
        part, own = changes[trait][trait]
        others = np.mean([changes[other][trait][1] for other in traits if other != trait], axis=0)
        gap = own - others
        about = _about(contrast, part)
        scores.append(scale_score(gap, part.keys))
        draws.append(scale_draws(gap, part.keys, n_resamples=n_resamples, seed=seed, scale=part.number))
        yield {**about, "scale": trait, **interval(scores[-1], draws[-1], len(part.keys)).row}
    whole = interval(float(np.mean(scores)), np.mean(draws, axis=0), sum(len(changes[t][t][0].keys) for t in traits))
    table = np.array([[scale_score(changes[a][b][1], changes[a][b][0].keys) for b in traits] for a in traits])
    null = np.array([np.mean([table[a, b] for a, b in enumerate(order)]) for order in permutations(range(len(traits)))])
    p = permutation_p_value(float(np.trace(table) / len(traits)), null[1:])  # the first is the diagonal itself
    yield {**about, "scale": ALL, **whole.row, "p": p}


def _about(contrast: Contrast, part: ScaleAnswers) -> dict[str, Any]:
    answers, method = contrast.high, contrast.method
    unit = "points of 1..5" if answers.inventory.kind == "likert" else "nats of log-odds"
    named = {"model": answers.model, "method": method, "inventory": answers.inventory.name}
    return {**named, "format": part.format, "unit": unit}
