"""Families on the same axes: cosines, projections, subspaces and shares of variance, each with its interval or null."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from persona_interp.directions.outliers import RATIO
from persona_interp.directions.subspaces import participation_ratio, principal_angles, shared_length
from persona_interp.judges.lexical import LexicalJudge, LexicalSign
from persona_interp.statistics.levels import NULL_QUANTILE
from persona_interp.statistics.mean_shift import Jackknifed
from persona_interp.statistics.null_directions import matched_draws, null_cosines, unit_rows
from persona_interp.statistics.partial_rank import partial_ranks, partial_spearman
from persona_interp.statistics.shared_direction import Halves, SharedDirection, relation, shared_direction
from persona_interp.statistics.streams import stream
from persona_interp.studies.comparison.families.answers import Contrast
from persona_interp.studies.comparison.families.family import RANDOM, Family, with_direction

Row = dict[str, Any]
ALL, RANK, ANGLE, SHARED = "all families", "rank", "principal angle", "shared length"
PLAIN, PARTIAL, WITHIN = "all answers", "length and valence held fixed", "pole, length and valence held fixed"


@dataclass(frozen=True, eq=False)
class Scale:
    """A layer as angles are measured there: which dimensions count, and what chance gives.

    Dimensions whose root mean square over the answers is ten times the median dimension's or more are left out: they
    hardly depend on what is said, and everything has a part along them. Chance is random directions with the covariance
    of the answers within the poles.

    Args:
        kept: the dimensions that count.
        centred: answers in these, each side centred on its mean.
    """

    layer: int
    kept: Bool[np.ndarray, " d_model"]
    centred: Float[np.ndarray, "answer kept"]
    n_null: int
    seed: int

    @classmethod
    def of(cls, contrast: Contrast, layer: int, n_null: int, *, seed: int) -> "Scale":
        """From the answers that directions are made from."""
        sizes = np.sqrt((contrast.values(layer) ** 2).mean(axis=0))
        kept = sizes < RATIO * np.median(sizes)
        return cls(layer, kept, contrast.within_poles(layer)[:, kept], n_null, seed)

    def units(self, families: Sequence[Family]) -> Float[np.ndarray, "family kept"]:
        """The families' directions in the dimensions that count, of norm 1."""
        return unit_rows(np.stack([family.vector(self.layer)[self.kept] for family in families]))

    def beyond(self, units: Float[np.ndarray, "family kept"]) -> Float[np.ndarray, " family"]:
        """What the size of a random direction's cosine with each unit vector stays below in 95 %."""
        mixing = stream(self.seed, "null of cosines").standard_normal((self.n_null, len(self.centred)))
        found = null_cosines(self.centred, mixing, units, stream(self.seed, "null of cosines", "rest"))
        return np.quantile(np.abs(found), NULL_QUANTILE, axis=0)

    def draws(self, n: int, purpose: str) -> Float[np.ndarray, "draw kept"]:
        """Random directions."""
        rng = stream(self.seed, "null of subspaces", purpose)
        return unit_rows(matched_draws(self.centred, rng.standard_normal((n, len(self.centred))), rng))


def cosine_rows(families: Sequence[Family], scale: Scale, n_splits: int) -> list[Row]:
    """A row a pair of families that both have a direction at a layer, with what random directions reach."""
    here = with_direction(families, scale.layer)
    units = scale.units(here)
    beyond, raw = scale.beyond(units), units @ units.T
    halves = [family.halves(scale.layer, scale.kept, n_splits) for family in here]
    rows = []
    for (i, first), (j, second) in combinations(enumerate(here), 2):
        null = float(max(beyond[i], beyond[j]))
        found = _pair(first, second, halves[i], halves[j], float(raw[i, j]))
        row = {"estimate": found.estimate, "low": found.low, "high": found.high, "null_high": null}
        rows.append(
            {
                "layer": scale.layer,
                "first": first.name,
                "second": second.name,
                "cosine": float(raw[i, j]),
                **row,
                "reliability_first": found.reliability[0],
                "reliability_second": found.reliability[1],
                "n_cluster": min((n for n in found.n if n), default=0),
                "cluster": _cluster(first, second),
                "n_null": scale.n_null,
                "relation": relation(found, null),
            }
        )
    return rows


def _pair(first: Family, second: Family, own: Halves | None, other: Halves | None, raw: float) -> SharedDirection:
    """The cosine of two families; where either has too few units, the plain one without an interval."""
    if own is None or other is None:
        nothing = float("nan")
        return SharedDirection(raw, nothing, nothing, (nothing, nothing), (0, 0))
    same = first.made is not None and second.made is not None and first.made.names == second.made.names
    return shared_direction(own, other, same_units=same)


def _cluster(first: Family, second: Family) -> str:
    units = dict.fromkeys(family.made.unit for family in (first, second) if family.made is not None)
    return " and ".join(units)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Contrastive answers that no direction saw, their lengths in tokens, and the valence of their words."""

    contrast: Contrast
    lengths: Float[np.ndarray, " answer"]
    valences: Float[np.ndarray, " answer"]

    @classmethod
    def of(cls, contrast: Contrast) -> "HeldOut":
        """The valence is VADER's compound, -1 to 1; that of an answer without words is 0."""
        samples = contrast.samples
        texts, questions = list(samples["answer"]), list(samples["question"])
        valences = np.array([score for score in _compounds(contrast.trait, questions, texts)])
        lengths = np.array([len(ids) for ids in samples["response_ids"]], dtype=float)
        return cls(contrast, lengths, np.nan_to_num(valences))


def _compounds(name: str, questions: Sequence[str], texts: Sequence[str]) -> Iterator[float]:
    from persona_interp.data.traits import load_trait

    plain = load_trait("impolite")
    judge = LexicalJudge({plain.name: LexicalSign(1, f"valence itself, of answers for {name}")})
    for score in judge.rate(plain, questions, texts):
        yield score.raw


def projection_rows(families: Sequence[Family], held_out: HeldOut, scale: Scale, n_draws: int) -> list[Row]:
    """Rank correlation of the projections of held-out answers on every pair of families, a row a way to look at it.

    The null is the size of the correlation with projections on random directions: the larger of both families' 95th
    percentiles.
    """
    here = with_direction(families, scale.layer)
    values, questions = held_out.contrast.values(scale.layer)[:, scale.kept], held_out.contrast.column("question")
    values = values - values.mean(axis=0)
    projected, drawn = (values @ units.T for units in (scale.units(here), scale.draws(n_draws, "projections")))
    poles = held_out.contrast.positive.astype(float)
    ways = {
        PLAIN: (),
        PARTIAL: (held_out.lengths, held_out.valences),
        WITHIN: (poles, held_out.lengths, held_out.valences),
    }
    rows = []
    for way, given in ways.items():
        null = np.quantile(np.abs(partial_ranks(projected, drawn, given)), NULL_QUANTILE, axis=1)
        for (i, first), (j, second) in combinations(enumerate(here), 2):
            found = partial_spearman(projected[:, i], projected[:, j], given, questions)
            row = {**found.row, "n_cluster": found.n_clusters, "condition": way, "n_null": n_draws}
            above = {"null_high": float(max(null[i], null[j]))}
            rows.append({"layer": scale.layer, "first": first.name, "second": second.name, **row, **above})
    return rows


def variance_rows(families: Sequence[Family], held_out: HeldOut, scale: Scale) -> list[Row]:
    """Share of the variance of held-out answers within the poles along each family, and along random directions."""
    values, questions = held_out.contrast.within_poles(scale.layer), held_out.contrast.column("question")
    values = values[:, scale.kept]
    here, names = with_direction(families, scale.layer), np.unique(questions)
    whole = (values**2).sum(axis=1)
    draws = scale.draws(scale.n_null, "share of variance")
    null = np.quantile(((values @ draws.T) ** 2).sum(axis=0) / whole.sum(), [0.025, 0.975]).tolist()
    rows = []
    for family, unit in zip(here, scale.units(here), strict=True):
        along = (values @ unit) ** 2
        without = np.array([along[questions != q].sum() / whole[questions != q].sum() for q in names])
        estimate, low, high = Jackknifed(float(along.sum() / whole.sum()), without).within(0.0, 1.0)
        rows.append(
            {
                **{"layer": scale.layer, "family": family.name, "estimate": estimate, "low": low, "high": high},
                **{"null_low": null[0], "null_high": null[1], "n_null": scale.n_null},
                **{"n": len(values), "n_cluster": len(names)},
            }
        )
    return rows


def subspace_rows(families: Sequence[Family], scale: Scale, n_draws: int) -> list[Row]:
    """Ranks of groups of families, and the principal angles and shared length of every two groups.

    Nulls have random directions in the place of those of the second group, or of all of a group.
    """
    here = [family for family in with_direction(families, scale.layer) if family.group != RANDOM]
    units, groups = scale.units(here), dict.fromkeys(family.group for family in here)
    vectors = {name: units[[family.group == name for family in here]] for name in groups}
    rows = []
    for name, own in {**vectors, ALL: units}.items():
        if len(own) < 2:
            continue
        draws = scale.draws(n_draws * len(own), f"rank {name}").reshape(n_draws, len(own), -1)
        null = [participation_ratio(one) for one in draws]
        rows.append(_subspace_row(scale.layer, RANK, name, "", participation_ratio(own), null, len(own)))
    for a, b in combinations(vectors, 2):
        first, second = vectors[a], vectors[b]
        draws = scale.draws(n_draws * len(second), f"{a} and {b}").reshape(n_draws, len(second), -1)
        angles, drawn = principal_angles(first, second), [principal_angles(first, one) for one in draws]
        for k, angle in enumerate(angles.tolist()):
            null = [one[k] for one in drawn]
            rows.append(_subspace_row(scale.layer, f"{ANGLE} {k + 1}", a, b, angle, null, len(angles)))
        shared = float(shared_length(second, first).mean())
        null = [float(shared_length(one, first).mean()) for one in draws]
        rows.append(_subspace_row(scale.layer, SHARED, a, b, shared, null, len(second)))
    return rows


def _subspace_row(
    layer: int, measure: str, first: str, second: str, value: float, null: Sequence[float], n: int
) -> Row:
    ends = np.quantile(null, [0.025, 0.975]).tolist()
    found = {"estimate": value, "null_low": ends[0], "null_high": ends[1], "n_null": len(null), "n": n}
    return {"layer": layer, "measure": measure, "first": first, "second": second, **found}
