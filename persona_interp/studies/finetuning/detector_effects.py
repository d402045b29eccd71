"""What detectors see of training against a monitor, as effects and claims; made from saved rows."""

from dataclasses import replace
from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, q_of, verdict
from persona_interp.sections.words import interval, number
from persona_interp.statistics.auc_interval import delta_p
from persona_interp.studies.finetuning.effects import measured, residual
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
    found = [(row, _seen(row, trait, layer, n_layers)) for row in rows_of(rows)]
    effects = [effect for _, effect in found]
    return effects, [_sees(row, effect, q) for (row, effect), q in zip(found, q_of(effects), strict=True)]


def _seen(row: Row, trait: str, layer: int, n_layers: int) -> Effect:
    detector, judge = row["detector"], None
    at = int(detector.removeprefix(ELSEWHERE)) if detector.startswith(ELSEWHERE) else layer
    condition = f"{row['run']}{AGAINST}{_words(detector)}"
    effect = residual(trait, at, n_layers, DELTA, condition)
    if detector.startswith(EXPRESSION):
        judge = detector.removeprefix(EXPRESSION)
        effect = Effect(metric=DELTA, trait=trait, condition=condition)
    elif detector == PROBE:
        effect = replace(effect, method="logistic probe")
    pooling = None if judge else "prompt_last" if detector == AT_PROMPT else "response_mean"
    effect = replace(
        effect,
        role="control" if row["run"] == PLAIN else "treatment",
        pooling=pooling,
        data=f"evaluation questions, training seed {row['seed']}",
        reference="the same training on the model's plain answers",
        fixed="directions, judge, training sets, training seed",
        n=row["n"],
        cluster="question",
        n_cluster=row["n_clusters"],
        judge=judge,
    )
    p = None if row["estimate"] is None else delta_p(row["estimate"], row["n_clusters"])
    test = replace(
        effect, test="Mann–Whitney, as of one answer a question", null_kind="no difference", p=p, family=FAMILY
    )
    return measured(effect if p is None else test, row)


def _sees(row: Row, effect: Effect, q: float) -> Claim:
    low, high = effect.low, effect.high
    found = verdict(q, low, high)
    detector = _words(row["detector"])
    shown = detector if effect.judge is None else f"judge {effect.judge}"
    sees = {"holds": "sees", "does not": "reads the opposite of", "undecided": "is not shown to see"}[found]
    return Claim(
        claim=f"{detector} sees {row['run']}, seed {row['seed']}",
        trait=effect.trait,
        sentence=(
            f"After training with {_of_run(row['run'])}, the {shown} {sees} {effect.trait}: Cliff's delta"
            f" {interval(effect.estimate, low, high)} against training on plain answers, q {number(q)}."
        ),
        rule=SEES,
        effects=[effect],
        verdict=found,
        unit=DELTA,
    )


def _words(detector: str) -> str:
    """A detector without a reference to others."""
    place = "the " if detector == AT_PROMPT else ""
    return detector.replace("same, ", f"{MONITOR} at {place}")


def _of_run(run: str) -> str:
    return run if run in (PLAIN, TEXT_ATTACK) else f"{'an' if run == ADAPTIVE else 'a'} {run}"
