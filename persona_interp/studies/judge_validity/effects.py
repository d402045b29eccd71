"""AUCs of judges as rows of the table of effects, and the claims that a judge sees a trait."""

from typing import Any

from pandas import DataFrame

from persona_interp.effects import Claim, Effect, Run, Source, run_id_of, verdict
from persona_interp.sections.words import interval, number
from persona_interp.tables import rows_of

STUDY = "judge_validity"
SEES = (
    "AUC of answers with the trait against answers without it; p exchanges the answers of pairs, corrected over traits,"
    " sets of answers and judges: q is at most 0.05; and the interval over pairs lies above 0.5"
)

Row = dict[str, Any]


def judge_runs(table: DataFrame, identity: Any) -> list[Run]:
    """What was found of the judges by each model that judges, a run a model.

    Args:
        table: as `judge_validity` gives it; without p and q where those were not kept.
        identity: all that the numbers depend on, as plain data.
    """
    found = [(row, _auc(row)) for row in rows_of(table)]
    runs = []
    for model in dict.fromkeys(model_of(row["judge"]) for row, _ in found):
        own = [(row, effect) for row, effect in found if model_of(row["judge"]) == model]
        source = Source(STUDY, run_id_of([identity, model]), model)
        runs.append((source, [effect for _, effect in own], [_sees(*each) for each in own]))
    return runs


def model_of(judge: str) -> str | None:
    """The model that judges, by the judge's name: what is in its first brackets."""
    return judge.partition("(")[2].partition(")")[0] or None


def _auc(row: Row) -> Effect:
    tested = row.get("p") is not None
    return Effect(
        metric="AUC",
        trait=row["trait"],
        method=row["judge"],
        condition="answers with the trait against answers without it",
        data=row["answers"],
        reference="chance, 0.5",
        fixed="judge",
        n=row["n_pairs"],
        cluster="pair",
        n_cluster=row["n_pairs"],
        test="exchange of the answers of pairs, one-sided" if tested else None,
        null_kind="answers of pairs exchanged" if tested else None,
        p=row.get("p"),
        family="AUCs of judges" if tested else None,
        judge=row["judge"],
    ).measured(row, "auc")


def _sees(row: Row, effect: Effect) -> Claim:
    low, high, q = row["low"], row["high"], row.get("q")
    found = verdict(q, None if low is None else low - 0.5, None if high is None else high - 0.5)
    tested = f"q {number(q)}" if q is not None else "without a test"
    sentence = (
        f"{row['judge']} {'tells' if found == 'holds' else 'is not shown to tell'} {row['answers']} with"
        f" {row['trait']} from those without: AUC {interval(row['auc'], low, high)}, {tested}."
    )
    return effect.claimed(f"{row['judge']} sees the trait in {row['answers']}", sentence, SEES, found)
