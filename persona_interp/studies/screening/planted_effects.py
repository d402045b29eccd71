"""How well scores find planted samples as rows of the table of effects, and claims of the projection difference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Source, q_of, verdict, write_runs
from persona_interp.io import read_record
from persona_interp.sections.words import interval, number
from persona_interp.statistics.exceedances import Exceedances, exceedances
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.statistics.thresholds import conformal_rank
from persona_interp.studies.screening.cross_fitted import cross_fitted_auc
from persona_interp.studies.screening.detection import (
    auc_differences,
    cross_fitted_logistic,
    detection_table,
    rank_average,
)
from persona_interp.studies.screening.effects import SHARE, STUDY
from persona_interp.studies.screening.planted import (
    ALONE,
    CHOOSER,
    DIFFERENCE,
    PROXY,
    TEXT,
    PlantedConfig,
    reserved_threshold,
)
from persona_interp.tables import read_table, rows_of

BOTH, RANKS, REGRESSION = (DIFFERENCE, TEXT), "both, by ranks", "both, by regression"
ONE, MIXED = "one source", "mixed sources"
LEVELS = {"level_1": "level I", "level_2": "level II"}
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

Row = Mapping[str, Any]


def planted_effects(samples: DataFrame, config: PlantedConfig, *, layer: int, n_layers: int) -> list[Effect]:
    """How well the scores find the planted samples, by trait, level and sources, from `planted_samples` alone.

    Within one source, plain answers to the same questions are clean; among mixed sources every question stands once.
    The threshold is the conformal one of the reserved clean samples. Activations are the treatment, judges that only
    read the text the control.
    """
    told, ahead, flagged = [], [], []
    for (trait, level), scored in samples.groupby(["trait", "level"], sort=False):
        mixed = scored[scored["mixed"]]
        rest = mixed[~mixed["reserved"]]
        for sources, mixture in ((ONE, scored[scored["source"] == "own"]), (MIXED, rest)):
            of = {
                score: _of(score, f"{LEVELS[level]}, {sources}", layer, n_layers, trait)
                for score in (*ALONE, RANKS, REGRESSION)
            }
            labels, groups = mixture["planted"].to_numpy(bool), mixture["question"].to_numpy(object).astype(str)
            alone = {name: mixture[name].to_numpy(float) for name in ALONE}
            both = {name: alone[name] for name in BOTH}
            scores = {
                **alone,
                RANKS: rank_average(both),
                REGRESSION: cross_fitted_logistic(both, labels, groups=groups),
            }
            table = detection_table(scores, labels, groups=groups, ks=(config.k,))
            fitted, p = cross_fitted_auc(both, labels, groups=groups)
            regression = (table["score"] == REGRESSION) & (table["metric"] == AUC)
            table.loc[regression, ["low", "high", "p"]] = fitted.low, fitted.high, p
            told += [_told_apart(row, of[row["score"]]) for row in rows_of(table)]
            differences = rows_of(auc_differences(scores, labels, groups=groups))
            ahead += [_ahead(row, of[row["a"]]) for row in differences]
        reserved, labels = int(mixed["reserved"].sum()), rest["planted"].to_numpy(bool)
        k = conformal_rank(reserved, 1 - config.percentile / 100)
        for score in ALONE:
            above = rest[score].to_numpy(float) > reserved_threshold(scored, score, config.percentile)
            for planted in (True, False):
                n = int((labels == planted).sum())
                found = exceedances(int(above[labels == planted].sum()), n, n_reference=reserved, k=k)
                flagged.append(_flagged(found, of[score], n, planted=planted))
    return [*told, *ahead, *flagged]


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
    model = said["model"]
    effects = planted_effects(read_table(folder / "samples.csv"), config, layer=layer, n_layers=model["n_layers"])
    identity = {name: said[name] for name in ("config", "data", "judges", "model")}
    source = Source.of(STUDY, identity, model, said["config"]["setup"]["seed"])
    write_runs(folder, STUDY, [(source, effects, planted_claims(effects, q_of(effects)))])


def _of(score: str, mixture: str, layer: int, n_layers: int, trait: str) -> Effect:
    """What an effect of a score is of: a mixture, and where the score was read."""
    text = score in _JUDGES
    effect = Effect(
        metric=AUC,
        role="control" if text else "treatment",
        trait=trait,
        method=score,
        condition=mixture,
        data="training samples, some planted",
        fixed="judge" if text else "direction, layer",
        cluster="question",
        judge=_JUDGES.get(score),
    )
    if text:
        return effect
    return replace(effect, pooling="prompt_last" if score == PROXY else "response_mean").at_block(layer, n_layers)


def _told_apart(row: Row, of: Effect) -> Effect:
    """AUC with its test; average precision and precision at k without one."""
    share = f"share of planted samples, {row['n_labelled'] / row['n']:.2f}"
    effect = replace(of, metric=row["metric"], reference=share, n=row["n"], n_cluster=row["n_groups"])
    effect = effect.measured(row, "value")
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


def _ahead(row: Row, of: Effect) -> Effect:
    return replace(
        of,
        metric=AHEAD,
        reference=row["b"],
        n=row["n"],
        n_cluster=row["n_groups"],
        test="t of the paired difference over questions, two-sided",
        null_kind="equal AUC",
        p=row["p"],
        family=f"differences of AUC, {of.trait}, {of.condition}",
        detectable=row["detectable"],
        judge=" and ".join(_JUDGES[name] for name in (row["a"], row["b"]) if name in _JUDGES) or None,
    ).measured(row, "value")


def _flagged(found: Exceedances, of: Effect, n: int, *, planted: bool) -> Effect:
    """The share of planted samples above the threshold of clean ones, or of other clean ones."""
    effect = replace(
        of,
        metric=SHARE,
        role=of.role if planted else "null",
        unit="share of samples",
        condition=f"{of.condition}, {'planted' if planted else 'clean'} samples",
        reference="new clean samples",
        estimate=found.share,
        low=found.low,
        high=found.high,
        level=CONFIDENCE,
        fixed=f"{of.fixed}, threshold",
        n=n,
        n_cluster=n,
        null_kind="samples of the clean data's distribution above an order statistic of the clean data",
        null_high=found.null_high,
    )
    if not planted:
        return effect
    return replace(effect, test="number of exceedances", p=found.p, family=HITS, detectable=found.detectable)


def _finds(effect: Effect, q: float) -> Claim:
    low, high = (None if end is None else end - 0.5 for end in (effect.low, effect.high))
    found = verdict(q, low, high)
    said = {"holds": "finds", "does not": "orders the wrong way", "undecided": "is not shown to find"}[found]
    sentence = (
        f"The projection difference {said} planted samples of {effect.trait}, {effect.condition}: AUC"
        f" {interval(effect.estimate, effect.low, effect.high)}, q {number(q)}."
    )
    claim = f"the projection difference finds planted samples, {effect.condition}"
    return replace(effect.claimed(claim, sentence, FINDS, found), unit=None)


def _better(effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    said = {"holds": "is ahead of", "does not": "is behind", "undecided": "is not shown to be ahead of"}[found]
    sentence = (
        f"The projection difference {said} a likelihood judge that only reads the text for {effect.trait},"
        f" {effect.condition}: {interval(effect.estimate, effect.low, effect.high)} of AUC, q {number(q)}."
    )
    claim = f"the projection difference is ahead of the likelihood judge, {effect.condition}"
    return replace(effect.claimed(claim, sentence, BETTER, found), unit=AUC)
