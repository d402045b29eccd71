"""What the page shows of the main job, beside its figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pandas import DataFrame

from persona_interp.figures.frames import distinct, keep, records
from persona_interp.judges.consensus import CONSENSUS
from persona_interp.judges.validity import RULE
from persona_interp.sections.effects import Shown, effects_section_table
from persona_interp.sections.section import flat
from persona_interp.sections.words import change, extent, interval, number, plain, signed
from persona_interp.studies.persona.effort import cut_sentence
from persona_interp.studies.persona.findings import (
    GRADES,
    Q_LEVEL,
    confirmation,
    digits_of,
    finding,
    grade,
    in_short,
    is_specific,
    specificity,
    unit_of,
    verdict,
)
from persona_interp.studies.persona.raters.beside import raters_in_short
from persona_interp.studies.persona.results import MainJobResults, TraitSummary
from persona_interp.studies.persona.rows import ALPHA, ALPHA_PAIR, AUC, COMPARED, COSINE, JUDGE_AUC, PASSING, RHO, SIZES

SHOWN = (
    Shown(
        "Steering by every judge",
        SIZES,
        "Steered minus unsteered answers at the chosen setting: of the consensus in standard deviations of unsteered"
        " answers, of each judge in points of 100. Hedges' g is in standard deviations of single answers;"
        " Cliff's delta is P(steered higher) − P(steered lower). Judges that rate only some of the steered answers are"
        " in no dose-response figure.",
        rows=lambda effects: keep(effects, "place", "chosen"),
        sign=True,
    ),
    Shown(
        "Persona vector and other methods",
        (AUC, COSINE),
        "Held-out AUC of every method at the layer chosen for steering, and its cosine with the persona vector. That"
        " layer was chosen on extraction questions, so the held-out answers chose nothing here.",
        rows=lambda effects: keep(keep(effects, "place", "chosen"), "condition", COMPARED),
    ),
    Shown(
        "Judges on texts whose trait is known, and on this model's own answers",
        (JUDGE_AUC,),
        f"A judge is shown to work with {RULE}. Only such judges choose a setting and make the consensus; the others"
        " stand beside it. Hard pairs count before exemplars, which are plain.",
    ),
    Shown(
        "What the gate of coherence lets pass",
        (PASSING,),
        "A gate that stops a persona, or lets nonsense pass, would choose settings by something else than coherence."
        " Corrupted answers are the unsteered ones with their words shuffled, their first words looped, or given to"
        " another question.",
    ),
    Shown(
        "Agreement of judges",
        (RHO, ALPHA_PAIR),
        "Over the answers that both rated. Krippendorff's alpha (interval) of their scores from 0 to 100 asks for equal"
        " scores, a rank correlation for an equal order. 1 is perfect, 0 is chance, below 0 is disagreement.",
    ),
    Shown(
        "All judges together",
        (ALPHA,),
        "On the answers that every judge of a trait rated: of their scores, and of the ranks of these answers within"
        " each judge, which leaves the scales out.",
    ),
)
"""Tables of effects on the page, beside those of the summary."""

EXAMPLE_QUESTIONS = 3
"""Questions shown a trait; the table has the rest."""


@dataclass(frozen=True)
class Answer:
    """One answer at one steering strength, its numbers as text."""

    heading: str
    scores: str
    text: str


@dataclass(frozen=True)
class ExampleRow:
    """The answers to one question side by side, from the lowest coefficient to the highest."""

    question: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Found:
    """What was found for one trait, in words."""

    row: TraitSummary
    outcome: str
    grade: str
    sentences: tuple[str, ...]
    specific: str


def main_job_parts(results: MainJobResults) -> dict[str, Any]:
    """What the page shows of the main job, by the names that its template uses."""
    return {
        "sentences": [in_short(row, str(results.provenance.get("model", "the model"))) for row in results.summary],
        "raters": plain(raters_in_short(results.raters, results.traits)),
        "cut": cut_sentence(results.config, results.provenance),
        "findings": [_found(row) for row in results.summary],
        "grades": GRADES,
        "judges": _mapping(results.provenance.get("judges")),
        "examples": [(trait, rows) for trait in results.traits if (rows := _examples(results.examples, trait))],
        "provenance": list(flat({k: v for k, v in results.provenance.items() if k != "judges"})),
        "config": list(flat(results.config)),
        "q_level": Q_LEVEL,
        "unit_of": unit_of,
        "tables": [made for one in SHOWN if (made := effects_section_table(results.effects, one)) is not None],
        "change": change,
        "digits_of": digits_of,
        "extent": extent,
        "interval": interval,
    }


def _found(row: TraitSummary) -> Found:
    sentences = tuple(text for text in (finding(row), specificity(row), confirmation(row)) if text)
    unknown = "not tested" if row.best_auc_other_traits is None else "nothing separates"
    specific = {True: "yes", False: "no", None: unknown}[is_specific(row)]
    return Found(row, verdict(row), grade(row), sentences, specific)


def _examples(table: DataFrame | None, trait: str) -> list[ExampleRow]:
    if table is None:
        return []
    rows = keep(table, "trait", trait)
    questions = distinct(rows, "question")[:EXAMPLE_QUESTIONS]
    return [ExampleRow(plain(text), _answers(keep(rows, "question", text))) for text in questions]


def _answers(rows: DataFrame) -> tuple[Answer, ...]:
    """The answers to one question in order of coefficient."""
    return tuple(_answer(row) for row in records(rows.sort_values("coefficient", kind="stable")))


def _answer(row: Mapping[str, Any]) -> Answer:
    place = f"coefficient {signed(row['coefficient'])}, layer {row['layer']:g}"
    return Answer(
        heading="unsteered" if row["coefficient"] == 0 else place,
        scores=f"expression {_expression(row)}, coherence {number(row['coherence'], 0)}",
        text=plain(row["answer"]),
    )


def _expression(row: Mapping[str, Any]) -> str:
    """The score of an answer: of the consensus as deviations from unsteered answers."""
    if row.get("judge") == CONSENSUS:
        return f"{signed(row['expression'], 1)} SD"
    return number(row["expression"], 0)


def _mapping(value: Any) -> dict[str, str]:
    return {plain(str(k)): plain(str(v)) for k, v in value.items()} if isinstance(value, Mapping) else {}
