"""The report's section on a PsychAdapter: whether it uses the scores, what it makes the model write, what it costs."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from pandas import DataFrame, Series

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
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.power import detectable_cosine
from persona_interp.studies.psychadapter import forms
from persona_interp.studies.psychadapter.figures.drawing import draw_adapter
from persona_interp.studies.psychadapter.forms import LOSSES

NOTES = (
    "Loss is in nats a token on texts that were not trained on. Shuffled: every text with another text's scores. The"
    " interval is over texts, and p exchanges the right vector of a text for those of the shuffles.",
    "Slopes are points of expression (0 to 100) for one standard deviation of a trait's score, within openings, others"
    " at the mean; q corrects over the on-target effects by the first judge, the primary family, and apart from them"
    " over all other effects, the exploratory map. Scores that a model estimated"
    " share its errors, and a judge that also scored the training texts is no independent one.",
    "The induced direction is the mean shift of the residual stream from low to high z inside the adapted model. It is"
    " called equal to a vector at a layer only where the whole interval of their cosine is above 0.9.",
)


def psychadapter_section(folder: Path) -> Section | None:
    """A PsychAdapter and what was measured of it; None where the folder has no held-out losses of one.

    Raises:
        ArtefactError: a table is not in the expected form.
    """
    nll = saved_table(folder, forms.ADAPTER_NLL)
    if nll is None:
        return None
    effects = saved_table(folder, forms.ADAPTER_EFFECTS)
    induced = saved_table(folder, forms.ADAPTER_INDUCED)
    cost = saved_table(folder, forms.ADAPTER_COST)
    said, tables = _loss_sentences(nll), [_losses(nll)]
    if effects is not None:
        said += _effect_sentences(effects)
        tables.append(_effects(effects))
    if induced is not None and "cosine" in distinct(induced, "metric"):
        said += _cosine_sentences(induced)
    if cost is not None:
        said += _cost_sentences(cost)
        tables.append(table("Cost", "", cost, [text("metric"), estimate("estimate", "value", digits=6), count("n")]))
    with paper_style():
        drawn = draw_adapter(
            nll,
            losses=saved_table(folder, LOSSES),
            expression=saved_table(folder, forms.ADAPTER_EXPRESSION),
            effects=effects,
            induced=induced,
        )
        figures = save(drawn, folder)
    traits = distinct(nll if effects is None else effects, "trait")
    return Section(
        key="psychadapter",
        title=f"PsychAdapter: {', '.join(str(trait) for trait in traits if trait != 'all') or 'one trait'}",
        sentences=tuple(said),
        notes=NOTES,
        figures=figures,
        tables=tuple(tables),
        provenance=read_provenance(folder, "psychadapter"),
    )


def _loss_sentences(nll: DataFrame) -> list[str]:
    differences = keep(keep(nll, "metric", "nll difference"), "trait", "all")
    parts = [
        f"{row['condition']} {spread(row['estimate'], row['low'], row['high'], digits=3, sign=True)}"
        f" (p {number(row['p'])}, {row['n']} texts{'' if row['q'] <= ALPHA else power(row, digits=3)})"
        for row in records(differences)
    ]
    return [f"Held-out loss above that with each text's own trait vector, nats a token: {'; '.join(parts)}."]


def _effect_sentences(effects: DataFrame) -> list[str]:
    """One sentence a judge: the slopes of the traits themselves, and how many off-target ones are not chance."""
    sentences = []
    for judge, group in effects.groupby("judge", sort=False):
        own = "; ".join(
            f"{row['trait']} {spread(row['estimate'], row['low'], row['high'], sign=True)} (q {number(row['q'])}"
            f"{'' if row['q'] <= ALPHA else power(row)})"
            for row in records(keep(group, "on_target", True))
        )
        other = keep(group, "on_target", False)
        said = ""
        if len(other):
            least = other["detectable"].dropna()
            said = f" Of {len(other)} off-target effects, {int((other['q'] <= ALPHA).sum())} have q below 0.05"
            said += f"; {_range(least)} points would be found in 80 % of repetitions." if len(least) else "."
        if own:
            sentences.append(f"Points of expression for one standard deviation of z, by {judge}: {own}.{said}")
    return sentences


def _cosine_sentences(induced: DataFrame) -> list[str]:
    cosines = keep(induced, "metric", "cosine")
    own = keep(cosines, "own", True)
    sentences = []
    for trait, group in own.groupby("trait", sort=False):
        clear = group.dropna(subset=["estimate"])
        if clear.empty:
            sentences.append(f"{trait}: no layer has a shift clear enough for a cosine.")
            continue
        best = records(clear.loc[[clear["estimate"].abs().idxmax()]])[0]
        equal = int(group["equal"].astype(bool).sum())
        beyond = int((group["q"] <= ALPHA).sum())
        least = detectable_cosine(group["low"], group["high"], group["n"], group["null_95"])
        least = "" if beyond else f" (a cosine of {_range(least)} would exceed them in 80 % of repetitions)"
        sentences.append(
            f"{trait}: the induced direction's cosine with the vector of {best['reference']} is largest at layer"
            f" {best['layer']}, {spread(best['estimate'], best['low'], best['high'], sign=True)}; it is beyond random"
            f" directions (q below 0.05) at {beyond} of {len(group)} layers{least}, and equal to the vector at {equal}."
        )
    return sentences


def _range(values: Series | Float[np.ndarray, " _"]) -> str:
    low, high = number(float(np.nanmin(values))), number(float(np.nanmax(values)))
    return low if low == high else f"{low} to {high}"


def _cost_sentences(cost: DataFrame) -> list[str]:
    found = {row["metric"]: row for row in records(cost)}
    if "parameters" not in found or "share of the base" not in found:
        return []
    share = found["share of the base"]["estimate"]
    said = f"The adapter has {int(found['parameters']['estimate']):,} parameters, {number(100 * share)} % of the base's"
    slower = found.get("slow-down")
    if slower is not None:
        low, high = 100 * slower["low"], 100 * slower["high"]
        said += f"; generating with it is {spread(100 * slower['estimate'], low, high, digits=1, sign=True)} % slower"
    return [f"{said}."]


def _losses(nll: DataFrame) -> SectionTable:
    columns = [
        *(text("trait"), text("metric"), text("condition"), estimate("estimate", "nats a token", digits=3)),
        *(value("p", digits=4), value("q", digits=4), value("detectable", "found in 80 %", digits=3)),
        count("n", "texts"),
    ]
    return table("Held-out loss", "", nll, columns)


def _effects(effects: DataFrame) -> SectionTable:
    columns = [
        *(text("trait", "trait set"), text("judged", "trait judged"), text("judge")),
        estimate("estimate", "points a standard deviation", sign=True),
        *(value("p", digits=4), value("q", digits=4), text("declared"), value("detectable", "found in 80 %")),
        *(count("n", "texts"), count("n_openings", "openings")),
    ]
    return table("Effects of every trait on every trait", "", effects, columns)
