"""What training and measuring an adapter will take: tokens to write, to read and to train on."""

from collections.abc import Sequence

from persona_interp.studies.plan import ANSWER_S, Step
from persona_interp.studies.psychadapter.measures import AdapterMeasures
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings

_WEIGHTS = 6
"""Rows that reading all weights once takes as long as: passes of few rows are slower a token than those of a speed."""
_WRITTEN, _OPENING, _COST_ROWS, _COST_TOKENS, _FIGURES_S = 48, 8, 8, 32, 10.0


def generating_plan(n_texts: int, n_traits: int, *, n_epochs: int, likelihood: bool) -> list[Step]:
    """Texts that the model writes, their scores, and the training that comes after."""
    n = n_texts * n_traits
    return [
        Step("texts written", n_texts, n_texts * _WRITTEN),
        Step("scores", n, 0, n * 2 * _WRITTEN if likelihood else 0, 0.0 if likelihood else n * ANSWER_S),
        Step("texts trained on, all epochs", n_epochs * n_texts, trained=n_epochs * n_texts * _WRITTEN),
    ]


def training_plan(settings: PsychAdapterSettings, lengths: Sequence[int], held_out: Sequence[int] = ()) -> list[Step]:
    """Texts trained on in every epoch, and those held out, which are read three times.

    Args:
        lengths: tokens of each text.
    """
    n = settings.n_epochs * len(lengths)
    steps = [Step("texts trained on, all epochs", n, trained=settings.n_epochs * sum(lengths))]
    return [*steps, *([Step("texts held out", len(held_out), read=3 * sum(held_out))] if held_out else [])]


def measuring_plan(
    measures: AdapterMeasures, lengths: Sequence[int], *, n_traits: int, n_judged: int, n_judges: int, likelihood: bool
) -> list[Step]:
    """The steps of a measurement, in order.

    Args:
        lengths: tokens of each held-out text.
        n_traits: of the adapter; `n_judged` of them have a trait that judges rate.
        n_judges: of them all; `likelihood`: whether the likelihood judge is among them.
    """
    tokens = sum(lengths)
    shuffles = measures.n_shuffles * (1 + (n_traits if measures.by_trait and n_traits > 1 else 0))
    passes, n_values = 3 + shuffles, len(set(measures.z_values))
    texts = (n_traits * (n_values - 1) + 1) * measures.n_openings * measures.n_samples if n_judged else 0
    rated, length = texts * n_judged, measures.max_new_tokens + _OPENING
    n_induced = min(measures.n_induced, len(lengths)) * n_values * n_traits
    induced = n_induced * tokens // max(1, len(lengths))
    cost = 2 * (measures.n_cost_repeats + 1) * _COST_ROWS
    return [
        Step("held-out losses", passes * len(lengths), 0, passes * tokens),
        Step("texts over trait values", texts, _in_passes(texts, measures.n_openings) * measures.max_new_tokens),
        Step("judging", rated * n_judges, 0, rated * 2 * length if likelihood else 0, rated * ANSWER_S),
        Step("induced directions", n_induced, 0, induced),
        Step("cost", cost, _in_passes(cost, _COST_ROWS) * _COST_TOKENS),
        Step("tables and figures", 0, other_s=_FIGURES_S),
    ]


def _in_passes(n_rows: int, at_once: int) -> int:
    """Rows with what reading the weights adds to each pass of so many at once."""
    return n_rows + _WEIGHTS * n_rows // at_once
