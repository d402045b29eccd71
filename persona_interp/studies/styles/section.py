"""The report's section on style vectors: what each layer tells apart, and what steering changes."""

from pathlib import Path
from typing import Any

from pandas import DataFrame

from persona_interp.figures.drawn import DrawnFigure
from persona_interp.figures.frames import distinct, keep, records
from persona_interp.figures.style import paper_style
from persona_interp.sections.section import (
    Section,
    SectionTable,
    count,
    estimate,
    power,
    read_provenance,
    save,
    saved_table,
    spread,
    table,
    text,
    value,
)
from persona_interp.sections.words import number
from persona_interp.statistics.families import PRIMARY
from persona_interp.statistics.levels import ALPHA
from persona_interp.studies.styles.figures import draw_style_probe, draw_style_steering
from persona_interp.studies.styles.forms import STYLE_JUDGES, STYLE_PROBE, STYLE_STEERING

NOTES = (
    "A style vector is the mean residual at the last token of a style's sentences minus that of the other styles. AUCs"
    " are of sentences that made neither vector nor probe; a fresh probe is fitted at every layer. p compares with the"
    " best layer of shuffled labels, and q corrects p over styles: for the style vector, the primary family, and apart"
    " from it for the probe, which is exploratory.",
    "Coefficients are chosen on other prompts than those that evaluate. They are shares of the mean residual norm of a"
    " token of the unsteered answers, the same for every kind of vector, and several layers share one coefficient.",
    "The prompt arm asks for the style in words, unsteered. q is against unsteered answers to the same questions; q"
    " (random) is against random directions with the covariance of the sentences, at the same layers and coefficient."
    " Primary is the place that was named before any answer, by one judge; all else is an exploratory map, corrected"
    " apart from it so that of the vectors said to work on a style at most 5 % do not.",
)


def styles_section(folder: Path) -> Section | None:
    """Style vectors of a corpus; None where the folder has no probe of styles.

    Raises:
        ArtefactError: a table is not in the expected form.
    """
    probe = saved_table(folder, STYLE_PROBE)
    if probe is None:
        return None
    steering = saved_table(folder, STYLE_STEERING)
    judges = saved_table(folder, STYLE_JUDGES)
    provenance, best = read_provenance(folder, "styles"), _best(probe)
    tables = [
        table(
            "Styles told apart in held-out sentences",
            "At the layer of the highest AUC of each readout.",
            best,
            [
                *(text("style"), text("readout"), count("layer"), estimate("auc", "AUC")),
                *(value("p_max", "p, best layer", digits=3), value("q", digits=3), count("n_test", "sentences")),
                *(text("declared"), value("detectable", "AUC found in 80 %")),
            ],
        )
    ]
    if judges is not None:
        tables.append(_judges_table(judges))
    drawn: list[DrawnFigure] = []
    said = _probe_sentences(best)
    with paper_style():
        drawn += draw_style_probe(probe)
        if steering is not None:
            shown = steering[steering["chosen"].astype(bool) | (steering["declared"] == PRIMARY)].reset_index(drop=True)
            said += _steering_sentences(shown, provenance.get("chosen_by"))
            tables.append(_steering_table(shown))
            drawn += draw_style_steering(steering)
        figures = save(drawn, folder)
    return Section(
        key="styles",
        title=f"Style vectors: {', '.join(map(str, distinct(probe, 'corpus')))}",
        sentences=tuple(said),
        notes=NOTES,
        figures=figures,
        tables=tuple(tables),
        provenance=provenance,
    )


def _best(probe: DataFrame) -> DataFrame:
    """The row of the highest AUC of every style and readout among block outputs, the earliest of equals."""
    blocks = keep(probe, "stream", "resid_post").reset_index(drop=True)
    return blocks.loc[blocks.groupby(["style", "readout"], sort=False)["auc"].idxmax()].reset_index(drop=True)


def _probe_sentences(best: DataFrame) -> list[str]:
    found, not_found = [], []
    for row in records(keep(best, "readout", "style vector")):
        place = f"{row['style']} (AUC {spread(row['auc'], row['low'], row['high'])} at layer {row['layer']})"
        shown = row["q"] <= ALPHA
        (found if shown else not_found).append(place if shown else place + power(row))
    sentences = []
    if found:
        sentences.append(f"The style vector tells held-out sentences of these styles from the others: {_list(found)}.")
    if not_found:
        sentences.append(
            "It does not tell these from the others better than shuffled labels would, corrected over styles:"
            f" {'; '.join(not_found)}."
        )
    return sentences


def _steering_sentences(shown: DataFrame, judge: str | None) -> list[str]:
    """One sentence a style and set of prompts, by the judge that chose the coefficients."""
    rows = shown if judge is None else keep(shown, "judge", judge)
    sentences = []
    for (style, prompts), group in rows.groupby(["style", "prompts"], sort=False):
        arms = "; ".join(_arm(row) for row in records(group))
        sentences.append(
            f"{style}, {prompts} prompts, change of expression against unsteered answers"
            f" ({'judge: ' + judge if judge else 'all judges'}): {arms}."
        )
    return sentences


def _arm(row: dict[str, Any]) -> str:
    where = "" if row["method"] == "prompt" else f" at {row['layers']}, coefficient {row['coefficient']:g}"
    effect = spread(row["effect"], row["effect_low"], row["effect_high"], digits=1, sign=True)
    named = " (primary)" if row["declared"] == PRIMARY else ""
    shown = row["q"] <= ALPHA
    return f"{row['method']}{where}{named} {effect}, q {number(row['q'])}{'' if shown else power(row, digits=1)}"


def _judges_table(judges: DataFrame) -> SectionTable:
    return table(
        "What the judges can tell apart",
        "On sentences that their exemplars are not from: it bounds what steering can show.",
        judges,
        [
            text("style"),
            text("judge"),
            estimate("auc", "AUC"),
            count("n", "sentences"),
            count("n_style", "of the style"),
        ],
    )


def _steering_table(shown: DataFrame) -> SectionTable:
    return table(
        "Steered styles",
        "At the chosen coefficients, by every judge. Expression runs from 0 to 100.",
        shown,
        [
            *(text("style"), text("prompts"), text("method"), text("layers"), value("coefficient"), text("judge")),
            estimate("estimate", "expression", digits=1),
            estimate("effect", "change", low="effect_low", high="effect_high", digits=1, sign=True),
            *(value("q", digits=3), value("q_random", "q (random)", digits=3), value("coherent_share", "coherent")),
            *(text("declared"), value("detectable", "found in 80 %", digits=1)),
            *(count("n", "answers"), count("n_questions", "questions")),
        ],
    )


def _list(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
