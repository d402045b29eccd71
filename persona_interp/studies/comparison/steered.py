"""What came of steering every family of a trait to the same strengths."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, concat

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import Trait, list_traits, load_trait
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.protocol import Judge
from persona_interp.judges.sentences import KeptSentences
from persona_interp.models.hooked import HookedModelBase
from persona_interp.statistics.null_directions import unit_rows
from persona_interp.studies.comparison.axes import Scale
from persona_interp.studies.comparison.config import ComparisonRun
from persona_interp.studies.comparison.families.answers import Contrast
from persona_interp.studies.comparison.families.family import PROMPTS, Family
from persona_interp.studies.comparison.families.texts import text_activations, text_families
from persona_interp.studies.comparison.gathered import Gathered
from persona_interp.studies.comparison.meanings import MeaningAxis, embedding_axes, residual_axes
from persona_interp.studies.comparison.strength import (
    Neutral,
    answered,
    arms_of,
    capability_rows,
    kept_arms,
    rated,
    strength_rows,
)
from persona_interp.studies.folder import RunFolder

MEANING = "meaning"
_LOW = "low_"


@dataclass(frozen=True, eq=False)
class Steered:
    """What came of steering.

    Args:
        strengths: a row a family and target: coefficient and the KL that it has.
        ratings: a row an answer and what was rated of it.
        capability: a row an arm and neutral text or item.
        cosines: a row a family and an off-target trait or axis of meaning: their cosine at the layer.
        axes: reliability of the axes of meaning.
    """

    strengths: DataFrame
    ratings: DataFrame
    capability: DataFrame
    cosines: DataFrame
    axes: DataFrame
    judges: tuple[str, ...]


def steer(
    folder: RunFolder,
    model: HookedModelBase,
    trait: Trait,
    found: Gathered,
    contrast: Contrast,
    judges: Sequence[Judge],
    encoder: KeptSentences,
    coherence: CoherenceJudge,
    run: ComparisonRun,
    *,
    progress: bool,
) -> Steered:
    """Strengths, answers, ratings, capability and cosines with what is off target, a cell an arm."""
    name, layer = trait.name, found.layer
    neutral = Neutral(model, folder.path / "neutral", run.seed, progress)
    strengths = concat(
        [
            folder.cell(
                f"{name} strength {family.name}",
                [name, "strength", family.name],
                lambda family=family: strength_rows(neutral, family, layer, run.targets, seed=run.seed),
            )
            for family in found.families
        ],
        ignore_index=True,
    )
    arms = arms_of(found.families, layer, strengths)
    kept = folder.path / "answers" / name
    answers = concat([answered(model, trait, arm, run, kept, progress) for arm in arms], ignore_index=True)
    others = off_target(trait)
    judge = EmbeddingJudge(encoder)

    def rate() -> DataFrame:
        ratings = rated(answers, trait, judges, [(other, judge) for other in others], coherence)
        return concat([ratings, meaning_ratings(answers, encoder, seed=run.seed)], ignore_index=True)

    return Steered(
        strengths,
        folder.cell(f"{name} ratings", [name, "ratings", [arm.key for arm in arms]], rate),
        kept_arms(
            lambda what, key, make: folder.cell(f"{name} {what}", [name, key], make),
            [arm for arm in arms if arm.system is None],
            "capability",
            lambda arm: capability_rows(model, arm, run, progress),
        ),
        folder.cell(
            f"{name} off target",
            [name, "off target"],
            lambda: off_target_cosines(model, found.families, contrast, layer, others, run, progress),
        ),
        folder.cell(
            f"{name} meanings",
            [name, "meanings"],
            lambda: meaning_table(model, encoder, contrast, layer, run, progress),
        ),
        tuple(judge.name for judge in judges),
    )


def off_target(trait: Trait) -> list[Trait]:
    """The package's other traits that have texts, one pole of each."""
    own = trait.name.removeprefix(_LOW)
    others = [load_trait(name) for name in list_traits() if not name.startswith(_LOW) and name != own]
    return [other for other in others if hard_pairs(other)]


def meaning_ratings(answers: DataFrame, encoder: KeptSentences, *, seed: int) -> DataFrame:
    """Where each answer stands on the axes of meaning, by its embedding."""
    embedded = encoder.encode([text.strip() or "." for text in answers["answer"]])
    parts = [
        answers.assign(what=MEANING, judge=one.axis, value=embedded @ one.vector)
        for one in embedding_axes(encoder, seed=seed)
    ]
    return concat(parts, ignore_index=True).drop(columns="answer")


def off_target_cosines(
    model: HookedModelBase,
    families: Sequence[Family],
    contrast: Contrast,
    layer: int,
    others: Sequence[Trait],
    run: ComparisonRun,
    progress: bool,
) -> DataFrame:
    """Cosine of every family with the text vector of every other trait and with the axes of meaning in residuals."""
    scale = Scale.of(contrast, layer, run.n_null, seed=run.seed)
    targets: dict[str, np.ndarray] = {}
    for other in others:
        texts = text_activations(model, other, most=run.n_pairs, deepest=layer, progress=progress)
        (family,), _ = text_families(texts, other.name, (layer,))
        targets[other.name] = family.vector(layer)[scale.kept]
    for one in residual_axes(model, layer, scale.kept, seed=run.seed, progress=progress):
        targets[one.axis] = one.vector
    here = [family for family in families if family.group != PROMPTS]
    cosines = scale.units(here) @ unit_rows(np.stack(list(targets.values()))).T
    return DataFrame(
        [
            {"family": family.name, "target": target, "cosine": float(cosines[i, j])}
            for i, family in enumerate(here)
            for j, target in enumerate(targets)
        ]
    )


def meaning_table(
    model: HookedModelBase, encoder: KeptSentences, contrast: Contrast, layer: int, run: ComparisonRun, progress: bool
) -> DataFrame:
    """How reliable the axes of meaning are in either space."""
    scale = Scale.of(contrast, layer, run.n_null, seed=run.seed)
    found: list[MeaningAxis] = [
        *embedding_axes(encoder, seed=run.seed),
        *residual_axes(model, layer, scale.kept, seed=run.seed, progress=progress),
    ]
    rows = []
    for one in found:
        for metric, (estimate, low, high) in (("reliability", one.reliability), ("pairs told apart", one.told)):
            ends = {"estimate": estimate, "low": low, "high": high}
            rows.append({"axis": one.axis, "space": one.space, "metric": metric, **ends, "n": one.n})
    return DataFrame(rows)
