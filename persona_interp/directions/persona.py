"""Persona vectors: the mean difference between answers with and without a trait."""

from typing import Literal, get_args

import pandas as pd

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Percent
from persona_interp.directions.direction import Direction, unit_norms
from persona_interp.errors import AlignmentError, ConfigError, EmptySelectionError
from persona_interp.rollouts.generate import Rollouts
from persona_interp.types import Pooling

Filter = Literal["paired", "independent", "none"]
METHOD = "persona_vector"
METHOD_VERSION = 1


@checked
def persona_vector(
    rollouts: Rollouts,
    *,
    pooling: Pooling = "response_mean",
    filter: Filter = "paired",
    threshold: Percent = 50.0,
) -> Direction:
    """Mean difference of pooled activations, positive minus negative system prompts, at every hookpoint.

    Points from trait-absent toward trait-present answers, so a larger projection means more of the trait. Not
    normalised: its norm is the separation, in units of the residual stream.

    Args:
        rollouts: contrastive, with expression scores unless `filter` is "none".
        filter: which answers count (see `passes_filter`).

    Raises:
        EmptySelectionError: the filter left no answer on one side.
        AlignmentError: there are no scores to filter by.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), section 2.
    """
    activations = rollouts.activations(pooling)
    keep = passes_filter(rollouts.frame, filter=filter, threshold=threshold)
    # An answer that ended at once has no response token, so no response mean.
    keep &= activations.values.isfinite().flatten(1).all(1).numpy()
    side = rollouts.frame["side"]
    counts = {name: int((keep & (side == name)).sum()) for name in ("positive", "negative")}
    if not all(counts.values()):
        raise EmptySelectionError(
            f"the filter {filter!r} (threshold {threshold:g}) left {counts['positive']} positive and"
            f" {counts['negative']} negative answers of {len(side)} for {rollouts.trait}.",
            'Make more rollouts, lower the threshold, or use filter="none" and say so.',
        )
    positive = activations.select(keep & (side == "positive"))
    negative = activations.select(keep & (side == "negative"))
    return mean_difference(
        positive, negative, trait=rollouts.trait, method=METHOD, method_version=METHOD_VERSION, filter=filter
    )


@checked
def mean_difference(
    positive: Activations,
    negative: Activations,
    *,
    trait: str,
    method: str = "mean_difference",
    method_version: int = 1,
    **details: str | float | int,
) -> Direction:
    """Mean of one set of activations minus the mean of another, at every hookpoint.

    Points toward `positive`. Not normalised.

    Raises:
        AlignmentError: the two sets differ in hookpoints, pooling or model.
    """
    for name in ("hookpoints", "pooling"):
        if getattr(positive, name) != getattr(negative, name):
            raise AlignmentError(
                f"positive and negative activations of {trait} differ in {name}.",
                "Extract both in the same way.",
            )
    if positive.provenance.weights != negative.provenance.weights:
        raise AlignmentError(f"positive and negative activations of {trait} come from different models.")
    norms = None
    if positive.norms is not None and negative.norms is not None:
        norms = unit_norms((positive.norms.nanmean(0) + negative.norms.nanmean(0)) / 2)
    return Direction(
        vectors=positive.values.mean(0) - negative.values.mean(0),
        hookpoints=positive.hookpoints,
        trait=trait,
        method=method,
        positive_pole=trait,
        provenance=positive.provenance.derive(
            method,
            method_version,
            pooling=positive.pooling,
            n_positive=len(positive),
            n_negative=len(negative),
            **details,
        ),
        residual_norms=norms,
    )


def check_filter(filter: str) -> None:
    """Refuse a filter that does not exist.

    Raises:
        ConfigError: names those that do.
    """
    if filter not in get_args(Filter):
        raise ConfigError(f"no filter is called {filter!r}.", f"Filters: {', '.join(get_args(Filter))}.")


def passes_filter(frame: pd.DataFrame, *, filter: Filter, threshold: float = 50.0) -> pd.Series:
    """Which contrastive answers count, by their expression scores (0..100) and the coherence gate.

    `paired`: both answers of a pair count where the positive one scores at least the threshold, the negative one
    less, and both are coherent (the published code). `independent`: each side on its own, above the threshold for
    positive and below for negative answers, coherence ignored (the paper's text). `none`: all.

    Raises:
        AlignmentError: there are no scores.
        ConfigError: there is no such filter.
    """
    check_filter(filter)
    if filter == "none":
        return pd.Series(True, index=frame.index)
    if "expression" not in frame:
        raise AlignmentError(
            f"the filter {filter!r} needs expression scores, and these rollouts have none.",
            'Score them first (judge.score(rollouts)), or use filter="none".',
        )
    positive = frame["side"] == "positive"
    if filter == "independent":
        return (frame["expression"] > threshold).where(positive, frame["expression"] < threshold)
    good = (frame["expression"] >= threshold).where(positive, frame["expression"] < threshold)
    if "coherent" in frame:
        good &= frame["coherent"]
    return good.groupby([frame[key] for key in ("question", "instruction", "sample")]).transform("all")
