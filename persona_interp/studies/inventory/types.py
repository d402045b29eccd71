"""The type that forced choices give, with its uncertainty."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.errors import ConfigError
from persona_interp.studies.inventory.answers import InventoryAnswers
from persona_interp.studies.inventory.draws import LEVEL, interval, scale_draws, scale_score
from persona_interp.studies.inventory.scores import JUDGE, ScaleAnswers, scales_of

UNDECIDED = "X"


@dataclass(frozen=True, eq=False)
class TypeResult:
    """A letter for each dichotomy, and how sure it is.

    Args:
        dichotomies: a row each: `scale, first, second`, share of the first pole (`estimate, low, high, n`),
            `probability` of the likelier pole, its `letter`, and whether it is `decided`.
        text: the likelier letters (hyphens between longer names of poles), X where a dichotomy is undecided (its pole
            has less than `level`).
        modal: the most frequent type over all draws, and its share of them.
        credible: the fewest types that hold `level` of the draws, most frequent first, with their shares.
    """

    model: str
    condition: str
    inventory: str
    format: str
    dichotomies: pd.DataFrame
    text: str
    modal: str
    modal_probability: float
    credible: tuple[tuple[str, float], ...]
    level: float = LEVEL

    def __str__(self) -> str:
        """`INXP (most probable INTP, 0.61; 95 %: INTP INFP)`."""
        types = " ".join(name for name, _ in self.credible[:8])
        more = f" and {len(self.credible) - 8} more" if len(self.credible) > 8 else ""
        return (
            f"{self.text} (most probable {self.modal}, {self.modal_probability:.2f}; {self.level:.0%}: {types}{more})"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The dichotomies as rows of a table, the type beside each."""
        return self.dichotomies.assign(
            model=self.model,
            condition=self.condition,
            inventory=self.inventory,
            format=self.format,
            judge=JUDGE,
            type=self.text,
            modal=self.modal,
            modal_probability=self.modal_probability,
            credible=" ".join(name for name, _ in self.credible),
        )


@checked
def inventory_type(
    answers: InventoryAnswers,
    *,
    format: str | None = None,
    n_resamples: Count = 4000,
    seed: Seed = 0,
) -> TypeResult:
    """The pole of each dichotomy, with its probability over bootstrap draws of items and wordings.

    A draw's pole is the one on whose side of one half its share lies. Draws are stretched as intervals are (see
    `scale_draws`), so the probability of a pole is that of a t distribution rather than a too sure one: of 3,000
    simulated dichotomies of eight items, those with a probability of 0.5-0.7, 0.7-0.85, 0.85-0.95, 0.95-0.99 and more
    had the true pole in 0.63, 0.84, 0.92, 0.97 and 0.99 of cases. Dichotomies share their draws of wordings, and a type
    is counted as a whole.

    Args:
        format: `statement` or `choice`; default: that of the first wording, and never both together.

    Raises:
        ConfigError: its statements are rated, a dichotomy has one item, or it was not administered in the format.
    """
    if answers.inventory.kind != "forced_choice":
        raise ConfigError(
            f"{answers.inventory.name} has statements to rate; a type needs forced choices.",
            "Administer `types_32`, or `paired(...)` of a rated inventory.",
        )
    parts = list(scales_of(answers))
    wanted = parts[0].format if format is None else format
    parts = [part for part in parts if part.format == wanted]
    if not parts:
        raise ConfigError(f"{answers.inventory.name} was not administered in the format {format!r}.")
    draws = [scale_draws(p.keyed, p.keys, n_resamples=n_resamples, seed=seed, scale=p.number) for p in parts]
    if not np.isfinite(draws).all():
        raise ConfigError(f"a dichotomy of {answers.inventory.name} has one item.", "Uncertainty needs two or more.")
    first = np.array(draws) > 0.5
    rows = [_row(answers, part, of, side) for part, of, side in zip(parts, draws, first, strict=True)]
    poles = [answers.inventory.scale(part.scale).poles for part in parts]
    gap = "" if all(len(pole) == 1 for pair in poles for pole in pair) else "-"
    types = Counter(gap.join(pair[int(not up)] for pair, up in zip(poles, draw, strict=True)) for draw in first.T)
    ordered = [(name, count / n_resamples) for name, count in types.most_common()]
    reached = np.cumsum([share for _, share in ordered])
    return TypeResult(
        model=answers.model,
        condition=answers.condition,
        inventory=answers.inventory.name,
        format=wanted,
        dichotomies=pd.DataFrame(rows),
        text=gap.join(row["letter"] if row["decided"] else UNDECIDED for row in rows),
        modal=ordered[0][0],
        modal_probability=ordered[0][1],
        credible=tuple(ordered[: int(np.searchsorted(reached, LEVEL - 1e-12)) + 1]),
    )


def _row(
    answers: InventoryAnswers, part: ScaleAnswers, draws: np.ndarray, first: Bool[np.ndarray, " draw"]
) -> dict[str, Any]:
    poles, share = answers.inventory.scale(part.scale).poles, float(first.mean())
    found = interval(scale_score(part.keyed, part.keys), draws, len(part.keys), answers.inventory.bounds)
    probability = max(share, 1 - share)
    return {
        "scale": part.scale,
        "first": poles[0],
        "second": poles[1],
        **found.row,
        "probability": probability,
        "letter": poles[0] if share >= 0.5 else poles[1],
        "decided": probability >= LEVEL,
    }
