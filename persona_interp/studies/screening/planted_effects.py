"""How well scores find planted samples as rows of the table of effects, and claims of the projection difference."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from persona_interp.effects import (
    Claim,
    Effect,
    Source,
    claims_table,
    effects_table,
    q_of,
    run_id_of,
    verdict,
    write_effects,
)
from persona_interp.io import read_record
from persona_interp.sections.words import interval, number
from persona_interp.studies.screening.effects import SHARE, STUDY
from persona_interp.studies.screening.planted import (
    CHOOSER,
    DIFFERENCE,
    LEVELS,
    PROXY,
    REGRESSION,
    TEXT,
    Found,
    PlantedConfig,
    find_planted,
)
from persona_interp.tables import read_table, rows_of
from persona_interp.types import depth_of

AUC, AHEAD = "AUC", "difference of AUC"
TOLD_APART, HITS = "planted samples told from clean ones", "planted samples above the threshold"
FINDS = (
    "AUC of the projection difference, at the layer named before, against one half, corrected over scores, traits,"
    " levels and sources: q is at most 0.05; and its interval lies above one half. `does not`: below"
)
BETTER = (
    "AUC of the projection difference minus that of the likelihood judge on the same samples, corrected over the"
    " pairs of scores of a mixture: q is at most 0.05; and the interval lies above zero. `does not`: below"
)
_JUDGES = {TEXT: "likelihood", CHOOSER: "embedding, which chose the planted answers"}
_POOLING = {PROXY: "prompt_last"}

Row = dict[str, Any]


def planted_effects(found: Found, *, layer: int, n_layers: int) -> list[Effect]:
    """Effects of the three tables; activations are the treatment, judges that only read the text the control."""
    told = [_told_apart(row, layer, n_layers) for row in rows_of(found.detection)]
    ahead = [_ahead(row, layer, n_layers) for row in rows_of(found.differences)]
    return [*told, *ahead, *(_flagged(row, layer, n_layers) for row in rows_of(found.thresholds))]


def planted_claims(effects: Sequence[Effect], q: Sequence[float]) -> list[Claim]:
    """What is claimed of the projection difference in every mixture.

    Args:
        q: of every effect.
    """
    own = [(effect, one) for effect, one in zip(effects, q, strict=True) if effect.method == DIFFERENCE]
    finds = [_finds(effect, one) for effect, one in own if effect.metric == AUC]
    return finds + [_better(effect, one) for effect, one in own if (effect.metric, effect.reference) == (AHEAD, TEXT)]


def write_planted_effects(folder: Path, config: PlantedConfig, *, layer: int) -> None:
    """Effects and claims of the scored samples that are saved in a folder, samples.csv, and of its provenance.json.

    Raises:
        ArtefactError: one of them is missing or damaged.
    """
    said = read_record(folder / "provenance.json", remedy="Make the folder again.")
    model, setup = said["model"], said["config"]
    found = find_planted(read_table(folder / "samples.csv"), config)
    effects = planted_effects(found, layer=layer, n_layers=model["n_layers"])
    claims = planted_claims(effects, q_of(effects))
    identity = {name: said[name] for name in ("config", "data", "judges", "model")}
    seed = setup["setup"]["seed"]
    source = Source(STUDY, run_id_of(identity), model["model"], model["backend"], model["dtype"], seed)
    write_effects(folder, STUDY, effects_table(source, effects), claims_table(source, claims))


def _of(row: Row, score: str, layer: int, n_layers: int) -> Effect:
    """What an effect of a score is of: a mixture, and where the score was read."""
    text = score in _JUDGES
    return Effect(
        metric="",
        role="control" if text else "treatment",
        trait=row["trait"],
        method=score,
        substrate=None if text else "residual",
        layers=None if text else str(layer),
        depth=None if text else depth_of(layer, n_layers),
        stream=None if text else "resid_post",
        pooling=None if text else _POOLING.get(score, "response_mean"),
        condition=f"{LEVELS[row['level']]}, {row['sources']}",
        data="training samples, some planted",
        fixed="judge" if text else "direction, layer",
        n=row["n"],
        judge=_JUDGES.get(score),
    )


def _told_apart(row: Row, layer: int, n_layers: int) -> Effect:
    """AUC with its test; average precision and precision at k without one."""
    effect = replace(
        _of(row, row["score"], layer, n_layers),
        metric=row["metric"],
        reference=f"share of planted samples, {row['n_labelled'] / row['n']:.2f}",
        cluster="question",
        n_cluster=row["n_groups"],
    ).measured(row, "value")
    if row["metric"] != AUC:
        return effect
    refitted = row["score"] == REGRESSION
    return replace(
        effect,
        reference="chance, 0.5",
        test="labels shuffled and refitted, one-sided" if refitted else "t of log-odds over questions, two-sided",
        null_kind="labels shuffled within questions that have both kinds" if refitted else "an AUC of 0.5",
        p=row["p"],
        family=TOLD_APART,
    )


def _ahead(row: Row, layer: int, n_layers: int) -> Effect:
    effect = replace(
        _of(row, row["a"], layer, n_layers),
        metric=AHEAD,
        reference=row["b"],
        cluster="question",
        n_cluster=row["n_groups"],
        test="t of the paired difference over questions, two-sided",
        null_kind="equal AUC",
        p=row["p"],
        family=f"differences of AUC, {row['trait']}, {LEVELS[row['level']]}, {row['sources']}",
        detectable=row["detectable"],
        judge=" and ".join(_JUDGES[name] for name in (row["a"], row["b"]) if name in _JUDGES) or None,
    )
    return effect.measured(row, "value")


def _flagged(row: Row, layer: int, n_layers: int) -> Effect:
    """The share of planted samples above the threshold of clean ones, or of other clean ones."""
    of, planted = _of(row, row["score"], layer, n_layers), row["kind"] == "hits"
    effect = replace(
        of,
        metric=SHARE,
        role=of.role if planted else "null",
        unit="share of samples",
        condition=f"{of.condition}, {'planted' if planted else 'clean'} samples",
        reference="new clean samples",
        fixed=f"{of.fixed}, threshold",
        cluster="question",
        n_cluster=row["n"],
        test="number of exceedances" if planted else None,
        null_kind="samples of the clean data's distribution above an order statistic of the clean data",
        null_high=row["null_high"],
        p=row["p"],
        family=HITS if planted else None,
        detectable=row["detectable"] if planted else None,
    )
    return effect.measured(row, "value")


def _finds(effect: Effect, q: float) -> Claim:
    low, high = (None if end is None else end - 0.5 for end in (effect.low, effect.high))
    found = verdict(q, low, high)
    said = {"holds": "finds", "does not": "orders the wrong way", "undecided": "is not shown to find"}[found]
    return Claim(
        claim=f"the projection difference finds planted samples, {effect.condition}",
        trait=effect.trait,
        sentence=(
            f"The projection difference {said} planted samples of {effect.trait}, {effect.condition}: AUC"
            f" {interval(effect.estimate, effect.low, effect.high)}, q {number(q)}."
        ),
        rule=FINDS,
        effects=[effect],
        verdict=found,
    )


def _better(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    said = {"holds": "is ahead of", "does not": "is behind", "undecided": "is not shown to be ahead of"}[found]
    return Claim(
        claim=f"the projection difference is ahead of the likelihood judge, {effect.condition}",
        trait=effect.trait,
        sentence=(
            f"The projection difference {said} a likelihood judge that only reads the text for {effect.trait},"
            f" {effect.condition}: {interval(effect.estimate, effect.low, effect.high)} of AUC, q {number(q)}."
        ),
        rule=BETTER,
        effects=[effect],
        verdict=found,
        detectable=None if effect.detectable is None else float(effect.detectable),
        unit="AUC",
    )
