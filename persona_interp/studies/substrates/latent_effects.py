"""What a dictionary says of a trait as rows of the table of effects, and the claim that its top latents steer."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas as pd

from persona_interp.effects import Claim, Effect, rejected
from persona_interp.sections.words import interval, number
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.studies.substrates.latents import (
    RANDOM_LATENT,
    TOP,
    VECTOR,
    Latents,
    TopAgainstRandom,
    latent_rows,
    top_against_random,
)
from persona_interp.tables import rows_of

FVU, ALONG, AGAINST = "fvu of the direction", "change of expression along a latent", "top latents minus random ones"
CARD = ("fvu of the dictionary", "CE loss recovered", "L0", "share of dead latents")
NAMED_FVU = 8
"""Latents at which the direction is compared with random ones, named before."""
STEERS = (
    "top latents, by cosine, against random latents of equal density, each added at one length: labels exchanged"
    " between latents, q is at most 0.05; and the interval of the difference over latents lies above zero"
)
SPARSE = (
    f"share of the direction that {NAMED_FVU} latents by matching pursuit leave, ranked among random directions of its"
    " covariance: q is at most 0.05"
)


def latent_effects(
    found: Latents, here: Effect, run: SubstratesRun, headline: str, known: Mapping[str, float]
) -> tuple[list[Effect], list[tuple[Effect, TopAgainstRandom]], list[Effect]]:
    """Effects of quality, decomposition and steering; those that claims on steering and on sparsity rest on."""
    of = replace(here, substrate="latent", place="named")
    curves = list(_curves(found, of))
    named = [effect for effect in curves if effect.strength == NAMED_FVU and effect.family is not None]
    rows = latent_rows(found.scored, headline, seed=run.seed)
    tested = top_against_random(rows, seed=run.seed)
    compared = [] if tested is None else [(_compared(tested, of, run, headline, known), tested)]
    effects = [*_card(found, of), *curves, *_along(rows, of, run, headline, known)]
    return [*effects, *(effect for effect, _ in compared)], compared, named


def _card(found: Latents, of: Effect) -> Iterator[Effect]:
    """The quality card of the dictionary, where it was measured."""
    quality = found.dictionary.quality
    if quality is None:
        return
    on = replace(
        of,
        role="control",
        trait=None,
        method=found.dictionary.kind,
        condition=found.dictionary.name,
        data="held-out texts",
    )
    yield replace(on, metric=CARD[0], cluster="text").estimated(quality.fvu)
    yield replace(on, metric=CARD[1], cluster="text").estimated(quality.ce_recovered)
    yield replace(on, metric=CARD[2], unit="latents a token", estimate=quality.l0, n=quality.n_tokens)
    yield replace(on, metric=CARD[3], estimate=quality.dead, n=quality.n_tokens)


def _curves(found: Latents, of: Effect) -> Iterator[Effect]:
    """What the first latents leave of the direction, beside random directions and shuffled decoders."""
    for row in rows_of(found.curves):
        k = row["n_latents"]
        if k & (k - 1):
            continue  # powers of two
        base = replace(
            of,
            metric=FVU,
            method=row["method"],
            data=found.dictionary.name,
            place="swept",
            strength=k,
            strength_unit="latents",
            estimate=row["fvu"],
            fixed="direction, dictionary",
        )
        primary = row["method"] == "pursuit" and k == NAMED_FVU
        for name, kind in (
            ("random", "random directions with the covariance of answers within poles"),
            ("shuffled", "a decoder whose rows are shuffled inside"),
        ):
            p = row[f"p_{name}"]
            yield replace(
                base,
                condition=f"against {'random directions' if name == 'random' else 'shuffled decoders'}",
                test="rank, less left over",
                null_kind=kind,
                null_low=row[f"{name}_low"],
                null_high=row[f"{name}_high"],
                n_null=int(row[f"n_{name}"]),
                p=p,
                family=None if p is None else "sparse in latents" if primary and name == "random" else "decompositions",
            )


def _along(
    rows: pd.DataFrame, of: Effect, run: SubstratesRun, headline: str, known: Mapping[str, float]
) -> Iterator[Effect]:
    """Each latent steered, and the persona vector beside."""
    for row in rows_of(rows):
        latent, kind = row["latent"], row["kind"]
        yield replace(
            _steered(of, run, headline, known),
            metric=ALONG,
            role={VECTOR: "control", TOP: "treatment", RANDOM_LATENT: "null"}[kind],
            substrate="residual" if kind == VECTOR else "latent",
            condition=kind if kind == VECTOR else f"{kind} {latent}",
            reference="unsteered answers",
            cluster="question",
            n=row["n"],
            n_cluster=row["n"],
        ).measured(row, "effect")


def _compared(
    found: TopAgainstRandom, of: Effect, run: SubstratesRun, headline: str, known: Mapping[str, float]
) -> Effect:
    can = found.p == found.p
    return replace(
        _steered(of, run, headline, known),
        metric=AGAINST,
        condition=f"{found.n_top} top latents by cosine",
        reference=f"{found.n_random} random latents of equal density",
        cluster="latent",
        test="latents exchanged between top and random",
        null_kind="top latents steer as random ones do",
        p=found.p if can else None,
        family="top latents" if can else None,
        fixed="questions, judge, dictionary",
    ).estimated(found.difference)


def _steered(of: Effect, run: SubstratesRun, headline: str, known: Mapping[str, float]) -> Effect:
    return replace(
        of,
        metric=ALONG,
        unit="points of 100",
        data="evaluation questions",
        strength=run.coefficient,
        strength_unit="mean residual norms of a token of the answers",
        fixed="latents, judge",
        judge=headline,
        judge_validity=known.get(headline),
    )


def steers(effect: Effect, found: TopAgainstRandom, q: float) -> Claim:
    """The paper's claim: top latents beat random ones."""
    difference = found.difference
    holds = rejected(q) and difference.low > 0
    does = "steer" if holds else "are not shown to steer"
    points = interval(difference.estimate, difference.low, difference.high, digits=1)
    sentence = (
        f"The {found.n_top} latents nearest to {effect.trait} {does} toward it more than {found.n_random} random"
        f" latents of equal density: {points} points, q {number(q)} ({effect.judge})."
    )
    verdict = "holds" if holds else "does not" if difference.high < 0 else "undecided"
    return effect.claimed("top latents steer", sentence, STEERS, verdict)


def sparse(effect: Effect, q: float) -> Claim:
    """Whether a few latents say more of the direction than of random ones."""
    holds = rejected(q)
    does = "leave" if holds else "are not shown to leave"
    sentence = (
        f"{NAMED_FVU} latents {does} less of the direction of {effect.trait} than of random directions of its"
        f" covariance: {number(effect.estimate)} of its squared norm, random ones {number(effect.null_low)} to"
        f" {number(effect.null_high)}, q {number(q)} ({effect.data})."
    )
    return effect.claimed("sparse in latents", sentence, SPARSE, "holds" if holds else "undecided")
