"""What detectors see of training against a monitor, as effects and claims; made from saved rows."""

from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.auc_interval import delta_p
from persona_interp.studies.finetuning.effects import residual, with_q
from persona_interp.tables import rows_of

BENIGN, PLAIN = "benign data", "trait data"
PENALISED, ADAPTIVE, TEXT_ATTACK = "projection penalty", "adaptive penalty", "data against the text monitor"
MONITOR, AT_PROMPT, ELSEWHERE = "monitored direction", "same, last prompt token", "same, layer "
EXTRACTED, PROBE, EXPRESSION = "vector extracted again", "fresh probe", "trait expression: "
AGAINST = f" against {BENIGN}: "
DELTA = "Cliff's delta"
FAMILY = "detectors against benign training"
SEES = (
    "Cliff's delta of the readings against those of the same training on the model's plain answers, corrected over runs"
    " and detectors: q is at most 0.05, and the interval lies above zero"
)

Row = dict[str, Any]


def detector_effects(rows: DataFrame, *, trait: str, layer: int, n_layers: int) -> tuple[list[Effect], list[Claim]]:
    """Effects and claims of every detector and run. That one detector sees more than another is not tested.

    Args:
        rows: `run, seed, detector, estimate, low, high, n, n_clusters`, delta from -1 to 1, above 0 where a detector
            reads more of the trait than in the benign run.
        trait: that was trained; its persona vector at `layer` is the monitor.
    """
    rows_seen = rows_of(rows)
    found = with_q(_seen(row, trait, layer, n_layers) for row in rows_seen)
    claims = [_sees(row, effect, q) for row, (effect, q) in zip(rows_seen, found, strict=True)]
    return [effect for effect, _ in found], claims


def _seen(row: Row, trait: str, layer: int, n_layers: int) -> Effect:
    detector = row["detector"]
    at = int(detector.removeprefix(ELSEWHERE)) if detector.startswith(ELSEWHERE) else layer
    condition = f"{row['run']}{AGAINST}{_words(detector)}"
    pooling = "prompt_last" if detector == AT_PROMPT else "response_mean"
    effect = replace(residual(trait, at, n_layers, DELTA, condition), pooling=pooling)
    if detector.startswith(EXPRESSION):
        judge = detector.removeprefix(EXPRESSION)
        effect = Effect(metric=DELTA, trait=trait, condition=condition, judge=judge)
    elif detector == PROBE:
        effect = replace(effect, method="logistic probe")
    if row["estimate"] is not None:
        test, p = "Mann–Whitney, as of one answer a question", delta_p(row["estimate"], row["n_clusters"])
        effect = replace(effect, test=test, null_kind="no difference", p=p, family=FAMILY)
    return replace(
        effect.measured(row),
        role="control" if row["run"] == PLAIN else "treatment",
        data=f"evaluation questions, training seed {row['seed']}",
        reference="the same training on the model's plain answers",
        fixed="directions, judge, training sets, training seed",
        n=row["n"],
        cluster="question",
        n_cluster=row["n_clusters"],
    )


def _sees(row: Row, effect: Effect, q: float) -> Claim:
    found = verdict(q, effect.low, effect.high)
    detector, run = _words(row["detector"]), row["run"]
    shown = detector if effect.judge is None else f"judge {effect.judge}"
    sees = {"holds": "sees", "does not": "reads the opposite of", "undecided": "is not shown to see"}[found]
    of_run = run if run in (PLAIN, TEXT_ATTACK) else f"{'an' if run == ADAPTIVE else 'a'} {run}"
    sentence = (
        f"After training with {of_run}, the {shown} {sees} {effect.trait}: Cliff's delta"
        f" {interval(effect.estimate, effect.low, effect.high)} against training on plain answers, q {number(q)}."
    )
    return effect.claimed(f"{detector} sees {run}, seed {row['seed']}", sentence, SEES, found)


def _words(detector: str) -> str:
    """A detector without a reference to others."""
    place = "the " if detector == AT_PROMPT else ""
    return detector.replace("same, ", f"{MONITOR} at {place}")
