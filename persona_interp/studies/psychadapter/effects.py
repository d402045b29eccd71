"""What was measured of an adapter as rows of the table of effects, and the claims made of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, family_of, mean_depth
from persona_interp.studies.psychadapter.claims import adapter_claims
from persona_interp.tables import rows_of

STUDY, METHOD = "psychadapter", "psychadapter"
NATS, SLOPE_UNIT = "nats a token", "points of 100 for one standard deviation of a trait's score"
SCORE = "standard deviations of a trait's score"
LOSS, LOSS_CHANGE = "held-out loss", "change of held-out loss"
EXPRESSION, SLOPE = "expression", "slope of expression"
COSINE = "cosine"
GEOMETRY = ("relative norm", "consistency", "explained", "first component", "linearity")
COST = {
    "parameters": "numbers",
    "LoRA parameters": "numbers",
    "base parameters": "numbers",
    "share of the base": "share of the base's parameters",
    "share of the base, with LoRA": "share of the base's parameters",
    "bytes of the file": "bytes",
}
"""What an adapter takes to store, and the units. Times are in the provenance: no two runs share them."""
RIGHT, BARE = "right scores", "no adapter"
_LOSS_TESTS = {"shuffled": "exchange of right and shuffled scores within texts, one-sided"}
_JUDGED = ", judged for "

Row = dict[str, Any]
Measured = tuple[Row, Effect]


def adapter_effects(tables: Mapping[str, DataFrame], *, n_layers: int) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of the tables nll, expression, offtarget, induced and cost, those that are there."""

    def rows(name: str) -> list[Row]:
        return rows_of(tables[name]) if name in tables else []

    losses = [(row, _loss(row)) for row in rows("nll")]
    slopes = [(row, _slope(row)) for row in rows("offtarget")]
    induced = [(row, _induced(row, n_layers)) for row in rows("induced") if _found(row)]
    cost = [(row, _cost(row)) for row in rows("cost") if row["metric"] in COST]
    effects = [effect for _, effect in (*losses, *slopes, *induced, *cost)]
    effects += [_expression(row) for row in rows("expression")]
    effects += [rank for each in slopes for rank in _ranks(*each)]
    return effects, adapter_claims(losses, slopes, [each for each in induced if each[0]["metric"] == COSINE], cost)


def with_judged(effects: DataFrame) -> DataFrame:
    """The effects with the trait that texts were judged for in the column `judged`."""
    return effects.assign(judged=[str(text).partition(_JUDGED)[2] for text in effects["condition"]])


def _found(row: Row) -> bool:
    return row["estimate"] is not None or row.get("p") is not None


def _about(row: Row, metric: str, **what: Any) -> Effect:
    plain: dict[str, Any] = {"method": METHOD, "substrate": "virtual_token", "fixed": "adapter, training seed"}
    return Effect(metric=metric, trait=row["trait"], n=row["n"], **plain | what)


def _loss(row: Row) -> Effect:
    compared = row["metric"] == "nll difference"
    about = _about(
        row,
        LOSS_CHANGE if compared else LOSS,
        unit=NATS,
        role="treatment" if row["condition"] == "right" or compared else "control",
        condition=BARE if row["condition"] == BARE else f"{row['condition']} scores",
        data=row["data"],
        cluster="text",
        n_cluster=row["n"],
    ).measured(row)
    if not compared:
        return about
    return replace(
        about,
        reference="each text's own scores",
        test=_LOSS_TESTS.get(row["condition"], "sign flips over texts, two-sided"),
        null_kind="no difference from each text's own scores",
        p=row["p"],
        family=family_of("held-out loss", row["declared"]),
        detectable=row.get("detectable"),
    )


def judged_as(effects: Sequence[Effect], known: Mapping[str, Mapping[str, float]]) -> list[Effect]:
    """Effects with the AUC of their judge for the trait that the texts were judged for, not the one they vary in."""
    traits = [(effect.condition or "").partition(_JUDGED)[2] for effect in effects]
    aucs = [known.get(trait, {}).get(effect.judge or "") for effect, trait in zip(effects, traits, strict=True)]
    return [replace(effect, judge_validity=auc) for effect, auc in zip(effects, aucs, strict=True)]


def _written(row: Row) -> dict[str, Any]:
    """What texts over trait values share."""
    said = f"texts written at values of {row['trait']}{_JUDGED}{row['judged']}"
    return {
        "condition": said,
        "fixed": "adapter, training seed, judge",
        "cluster": "opening",
        "judge": row["judge"],
        "n_cluster": row.get("n_openings"),
    }


def _slope(row: Row) -> Effect:
    return _about(
        row,
        SLOPE,
        unit=SLOPE_UNIT,
        reference="no slope",
        test="sign flips over openings",
        null_kind="no slope",
        null_high=row["null_95"],
        p=row["p"],
        family=family_of("slopes of expression", row["declared"]),
        detectable=row.get("detectable"),
        **_written(row),
    ).measured(row)


def _ranks(row: Row, slope: Effect) -> Iterator[Effect]:
    """Rank correlation of score and trait value over texts, and how often the mean score rises from one to the next."""
    blank = dict.fromkeys(("unit", "reference", "test", "null_kind", "null_high", "p", "family", "detectable"))
    plain = replace(slope, **blank, low=None, high=None, level=None)
    spearman = "spearman", "spearman_low", "spearman_high"
    if row["spearman"] is not None:
        yield replace(plain, metric="rank correlation of expression").measured(row, *spearman)
    if row["rising"] is not None:
        yield replace(plain, metric="share of rising steps", estimate=row["rising"])


def _expression(row: Row) -> Effect:
    about = _about(row, EXPRESSION, unit="points of 100", strength=row["z"], strength_unit=SCORE, **_written(row))
    return about.measured(row)


def _induced(row: Row, n_layers: int) -> Effect:
    """Geometry of the induced direction at a layer, or its cosine with a reference: another trait's is a control."""
    layers = str(row["layer"])
    about = _about(
        row,
        row["metric"],
        method=row["method"],
        substrate="residual",
        layers=layers,
        depth=mean_depth(layers, n_layers),
        place="swept",
        stream="resid_post",
        pooling=row["position"],
        condition="shift from low to high values of the trait inside the adapted model",
        fixed="adapter, training seed, reference",
        cluster="text",
        n_cluster=row["n"],
    ).measured(row)
    if row["metric"] != COSINE:
        return about
    return replace(
        about,
        role="treatment" if row["own"] else "control",
        reference=f"vector of {row['reference']}",
        test="rank among directions, two-sided",
        null_kind="directions with the covariance of the texts' residuals",
        null_high=row["null_95"],
        p=row["p"],
        family="cosines with the trait's own vector" if row["own"] else "cosines with vectors of other traits",
    )


def _cost(row: Row) -> Effect:
    bare = row["metric"] == "base parameters"
    return _about(
        row,
        row["metric"],
        unit=COST[row["metric"]],
        role="control" if bare else "treatment",
        substrate=None if bare else "virtual_token",
        condition="what is stored",
    ).measured(row)


def traits_of(effects: DataFrame) -> Sequence[str]:
    """The traits of an adapter, in the order of its effects."""
    own = effects[effects["metric"].isin([EXPRESSION, SLOPE, *GEOMETRY])]
    return list(dict.fromkeys(own["trait"].dropna().tolist()))
