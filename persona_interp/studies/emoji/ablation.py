"""Writers of emoji ablated, against as many random neurons of nearly the same size in the same layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import pandas as pd
from pandas import DataFrame

from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.directions.writers import matched_units
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.units import AblateUnits, UnitReference, unit_reference, units_of
from persona_interp.measurements.capability import measure_perplexity
from persona_interp.measurements.emoji import emoji_start_ids
from persona_interp.measurements.token_mass import log_mass
from persona_interp.models.hooked import HookedModelBase
from persona_interp.progress import track
from persona_interp.statistics.streams import derived_seed
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.emoji.measure import answer_table
from persona_interp.studies.emoji.spots import Spot, before_emoji
from persona_interp.studies.emoji.texts import INVITED, Question, ends_of_answers
from persona_interp.studies.emoji.writers import Place, neuron_sizes
from persona_interp.tables import Column, Form, numbers, texts, wholes
from persona_interp.types import Hookpoint

WRITERS, RANDOM, NOTHING = "writers", "random neurons", "nothing"
N_NEUTRAL = 10
"""Neutral passages whose loss is measured under every ablation."""
ABLATION = Form(
    "emoji_ablation",
    (
        *texts("ablated measured text", filled=True),
        Column("n_neurons", "whole", filled=True),
        *wholes("draw"),
        *numbers("value", unit="nats"),
    ),
)
MASS, LOSS = "log mass of emoji before an emoji", "loss on neutral text"


@dataclass(frozen=True)
class AblatedSet:
    """Neurons that are ablated together.

    Args:
        draw: the number of a random set.
    """

    what: str
    n: int
    draw: int | None
    places: tuple[Place, ...]

    @property
    def name(self) -> str:
        """Of its rows that are kept."""
        return "-".join([self.what.split()[0], str(self.n), *([] if self.draw is None else [str(self.draw)])])

    @property
    def columns(self) -> dict[str, object]:
        """What says in the table which set a row is of."""
        return {"ablated": self.what, "n_neurons": self.n, "draw": -1 if self.draw is None else self.draw}


Kept = Callable[[str, Callable[[], DataFrame]], DataFrame]
"""The rows that were kept under a name, or those that are made now."""


def draws_of(n_random: int, position: int) -> int:
    """Random sets for the number of writers at some position in the list: all for the first, a third for the others."""
    return n_random if position == 0 else n_random // 3


def ablations(
    model: HookedModelBase,
    ranked: Sequence[Place],
    chosen_on: Sequence[Spot],
    measured_on: Sequence[Spot],
    *,
    run: EmojiRun,
    keep: Kept,
    progress: bool,
) -> DataFrame:
    """One row an ablated set, and spot or neutral passage that it is measured on.

    Ablated neurons are set, at every position, to their mean at the spots that no emoji follows.

    Args:
        ranked: the writers, the largest first.
        chosen_on: spots on which they were found; they give sizes and means.
        measured_on: other spots, of which those before an emoji count.
    """
    spots, parts = before_emoji(measured_on), []
    reference = cache(lambda: emoji_free_reference(model, chosen_on, progress=progress))
    sets = [AblatedSet(NOTHING, 0, None, ()), *ablated_sets(model, ranked, chosen_on, run, progress=progress)]
    for one in track(sets, "ablation of neurons", total=len(sets), show=progress):

        def make(one: AblatedSet = one) -> DataFrame:
            return _measured(model, spots, ablation_of(model, one.places, reference()) if one.places else None)

        parts.append(keep(one.name, make).assign(**one.columns))
    return pd.concat(parts, ignore_index=True)


def ablated_answers(
    model: HookedModelBase,
    ranked: Sequence[Place],
    chosen_on: Sequence[Spot],
    questions: Sequence[Question],
    *,
    run: EmojiRun,
    keep: Kept,
    progress: bool,
) -> DataFrame:
    """Answers to the held-out questions with three emoji, with the first number of writers ablated, and random ones."""
    sets = ablated_sets(model, ranked, chosen_on, replace(run, top=run.top[:1]), progress=progress)
    reference = cache(lambda: emoji_free_reference(model, chosen_on, progress=progress))
    parts = []
    for one in sets[:2]:

        def make(one: AblatedSet = one) -> DataFrame:
            change, label = ablation_of(model, one.places, reference()), f"{one.what} ablated"
            return answer_table(
                model, questions, run, label=label, progress=progress, conditions=(INVITED,), intervention=change
            )

        table = keep(f"answers-{one.name}", make)
        parts.append(table.assign(trait="", arm=f"{one.what} ablated", repeat=0))
    return pd.concat(parts, ignore_index=True)


def ablated_sets(
    model: HookedModelBase, ranked: Sequence[Place], spots: Sequence[Spot], run: EmojiRun, *, progress: bool
) -> list[AblatedSet]:
    """For every number the largest writers, then random sets of neurons of nearly their size in their layers."""
    sizes, sets = neuron_sizes(model, spots, progress=progress), []
    for position, n in enumerate(run.top):
        chosen = tuple(ranked[:n])
        sets.append(AblatedSet(WRITERS, n, None, chosen))
        if draws := draws_of(run.n_random, position):
            drawn = matched_units(sizes, chosen, seed=derived_seed(run.seed, "random neurons", n), draws=draws)
            sets += [AblatedSet(RANDOM, n, k, tuple(places)) for k, places in enumerate(drawn)]
    return sets


def emoji_free_reference(model: HookedModelBase, spots: Sequence[Spot], *, progress: bool) -> UnitReference:
    """What every neuron gives at the last token of the spots that no emoji follows."""
    quiet = [spot.text for spot in spots if not spot.emoji]
    places = [Hookpoint(layer, "mlp_act") for layer in range(model.n_layers)]
    return unit_reference(model, places, quiet, [[] for _ in quiet], pooling="prompt_last", progress=progress)


def ablation_of(model: HookedModelBase, places: Sequence[Place], reference: UnitReference) -> AblateUnits:
    """Neurons set to their mean in the reference, at every position."""
    return AblateUnits(units_of(model, "neuron", list(places)), "mean", reference)


def _measured(model: HookedModelBase, spots: Sequence[Spot], change: Intervention | None) -> DataFrame:
    tokens, apart = emoji_start_ids(model.tokenizer), ends_of_answers(model)
    prompts, any_word = [spot.text for spot in spots], [" ."] * len(spots)
    masses = log_mass(model, prompts, any_word, tokens, change, apart=apart, progress=False)
    texts = load_neutral_texts()[:N_NEUTRAL]
    losses = measure_perplexity(model, texts, intervention=change, progress=False).losses
    rows: list[Mapping[str, object]] = [
        {"measured": MASS, "text": spot.question, "value": float(mass[0])}
        for spot, mass in zip(spots, masses, strict=True)
    ]
    rows += [{"measured": LOSS, "text": text, "value": float(loss)} for text, loss in zip(texts, losses, strict=True)]
    return DataFrame(rows)
