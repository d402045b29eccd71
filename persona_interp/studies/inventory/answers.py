"""From log-probabilities of options to answers, and from answers to tables of items and wordings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.data.inventories import Inventory
from persona_interp.errors import ConfigError
from persona_interp.tables import Form, numbers, texts, wholes

Normalise = Literal["sum", "mean", "pmi"]
"""Of an answer's token log-probabilities: their sum, their mean, or the sum minus that under a neutral item."""

NORMALISATIONS: tuple[Normalise, ...] = get_args(Normalise)
LOW_MASS = 0.1
"""Below this share of probability on the listed options a model does not answer in the format."""

ANSWER_KEYS = ("respondent", "wording", "format", "order", "item", "scale", "key")
"""What a row of answers is told apart by."""

INVENTORY_ANSWERS = Form("inventory_answers", (
    *texts("model condition inventory", filled=True), *wholes("respondent"), *texts("wording format order"),
    *wholes("item"), *texts("scale"), *wholes("key"), *numbers("answer keyed", unit="points of the scale"),
    *numbers("log_odds", unit="nats"), *numbers("mass"), *wholes("chosen chosen_position"),
))  # fmt: skip
"""The table of answers, for those who write it and those who read it."""


@dataclass(frozen=True, eq=False)
class InventoryAnswers:
    """Log-probabilities of every option of every item, and the answers that follow from them.

    Args:
        options: one row an option that was scored: `respondent, wording, format, order, item, scale, key, position`
            (as listed, 0-based; -1 where it is not), `value` (points of a rating; 1 for the first pole of a choice),
            `logprob` (nats, summed over `n_tokens`), and `neutral`, the same after the wording's neutral item, from
            the model without system prompt and intervention.
        normalise: None: `sum` where options are listed, `pmi` where statements are said.
        condition: what was done to the model, in words.
    """

    inventory: Inventory
    options: pd.DataFrame
    model: str
    normalise: str | None = None
    condition: str = "baseline"
    respondents: tuple[str | None, ...] = (None,)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row an item as it was put: expected `answer`, `keyed` answer, `log_odds`, `mass`, most likely option.

        A rating's answer is the expectation over its points (1 to k); a choice's is the probability of the first pole
        (0 to 1), `log_odds` its log-odds in nats. `mass` is the options' whole probability, NaN for statements.
        """
        return answer_frame(self.options, self.normalise, self.inventory.bounds)

    @property
    def named(self) -> dict[str, str]:
        """What tables of these answers say of each row: `model`, `condition` and `inventory`."""
        return {"model": self.model, "condition": self.condition, "inventory": self.inventory.name}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the scores must know."""
        found = []
        if one_way := self.inventory.one_way:
            found.append(
                f"{', '.join(one_way)}: items are keyed one way, so acquiescence cannot be told from the trait"
            )
        masses = self.frame.groupby("wording", sort=False)["mass"].mean()
        for wording, mass in masses.dropna().items():
            if mass < LOW_MASS:
                found.append(f"{wording}: options hold {mass:.2%} of the probability; the model answers otherwise")
        return tuple(found)

    def normalised(self, normalise: str | None) -> "InventoryAnswers":
        """The same log-probabilities, compared in another way."""
        check_names("normalise", (normalise,), (None, *NORMALISATIONS))
        return replace(self, normalise=normalise)


def answer_frame(options: pd.DataFrame, normalise: str | None, bounds: tuple[float, float]) -> pd.DataFrame:
    """One row an item as it was put, from one row an option (see `InventoryAnswers.frame`)."""
    sizes = options.groupby(list(ANSWER_KEYS), sort=False).size()
    n = int(sizes.iloc[0])
    assert bool((sizes == n).all()), "every item has the same number of options"
    shared = options.iloc[::n][list(ANSWER_KEYS)].reset_index(drop=True)
    logprobs, neutral, tokens, values, positions = (
        options[name].to_numpy().reshape(-1, n) for name in ("logprob", "neutral", "n_tokens", "value", "position")
    )
    said = (shared["format"] == "statement").to_numpy()
    points = {
        "sum": logprobs,
        "mean": logprobs / tokens,
        "pmi": logprobs - neutral,
        None: logprobs - neutral * said[:, None],
    }[normalise]
    chances = softmax(points)
    answer, best = (chances * values).sum(1), chances.argmax(1)
    rows = np.arange(len(shared))
    log_odds = np.full(len(shared), np.nan)
    if bounds == (0.0, 1.0):
        log_odds = np.where(values[:, 0] == 1, 1, -1) * (points[:, 0] - points[:, 1])
    return shared.assign(
        answer=answer,
        keyed=np.where(shared["key"] > 0, answer, sum(bounds) - answer),
        log_odds=log_odds,
        mass=np.where(said, np.nan, np.exp(logprobs).sum(1)),
        chosen=values[rows, best],
        chosen_position=positions[rows, best],
    )


def softmax(points: Float[np.ndarray, "row option"]) -> Float[np.ndarray, "row option"]:
    """exp(x) / sum exp(x) over the options of a row."""
    weights = np.exp(points - points.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def item_table(frame: pd.DataFrame, column: str, across: str = "wording") -> pd.DataFrame:
    """A column's mean for every item (rows) and every level of another column (columns), over all else."""
    return cast(pd.DataFrame, frame.pivot_table(index="item", columns=across, values=column, aggfunc="mean", sort=True))


def check_names(name: str, given: Any, known: Any) -> None:
    """Refuse nothing, or a name that is not known.

    Raises:
        ConfigError: says what is known.
    """
    if not given or (unknown := [value for value in given if value not in known]):
        wrong = repr(unknown[0]) if given else "nothing"
        raise ConfigError(f"{name} must be among {', '.join(map(str, known))}, got {wrong}.")
