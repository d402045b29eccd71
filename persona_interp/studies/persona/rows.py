"""The rows of the table of effects that the main job writes: the words that name them, and their selections."""

from typing import cast

from pandas import DataFrame

from persona_interp.figures.frames import keep

STUDY, METHOD = "persona", "persona_vector"
PRIMARY, SPECIFICITY = "claims of the run", "specificity"
PROMPTED = "answers to positive against negative system prompts"
LAYERWISE = f"{PROMPTED}, layer by layer"
COMPARED = f"{PROMPTED}, methods compared on the same prompts"
NAMED, CHOSEN, SWEPT = "added at a place named before", "added at the setting chosen on extraction questions", "added"
EXCHANGED, RANDOM = "exchanged prompts, at this layer alone", "random directions, at this layer alone"
AUC, NORM, COSINE = "AUC", "norm of the vector", "cosine"
CHANGE, EXPRESSION, COHERENCE = "change of expression", "expression", "coherence"
SIZES = (CHANGE, "Hedges' g", "Cliff's delta")
RHO, ALPHA_PAIR, ALPHA = "Spearman's rho of two judges", "Krippendorff's alpha of two judges", "Krippendorff's alpha"
JUDGE_AUC, PASSING = "AUC of a judge", "share that passes the coherence gate"
RATERS = "raters"
"""The study that compares a run's judges with human raters."""
ALPHA_RATERS, RHO_RATERS = "Krippendorff's alpha of human raters", "Spearman's rho with human raters"
AUC_RATERS = "AUC of a judge for human ratings of at least 50"
SYSTEM_PROMPT = "system prompt"
VECTOR_OF = "vector of "


def layer_map(effects: DataFrame) -> DataFrame:
    """Held-out AUC at every layer, of every pooling: two rows each, one a null."""
    return _at_layer(keep(keep(effects, "metric", AUC), "condition", LAYERWISE))


def norms(effects: DataFrame) -> DataFrame:
    """Norm of the vector over the mean residual norm, at every layer and of every pooling."""
    return _at_layer(keep(effects, "metric", NORM))


def sweep(effects: DataFrame, metric: str) -> DataFrame:
    """Expression or coherence over layers and coefficients; unsteered answers have no layer and start every line."""
    rows = keep(keep(effects, "condition", SWEPT), "metric", metric)
    layer = rows["layers"].astype("float64")
    role = rows["role"].where(layer.notna(), "treatment")
    return rows.assign(layer=layer, coefficient=rows["strength"], role=role)


def prompted(effects: DataFrame) -> DataFrame:
    """Expression of answers to system prompts, whose side is the condition."""
    rows = keep(effects, "method", SYSTEM_PROMPT)
    return rows.assign(condition=rows["condition"].str.removesuffix(" system prompts"))


def baselines(effects: DataFrame) -> DataFrame:
    """Held-out AUC of every method at every layer."""
    return _at_layer(keep(keep(effects, "metric", AUC), "condition", COMPARED))


def geometry(effects: DataFrame) -> DataFrame:
    """Cosines of the vectors of two traits, each pair once."""
    rows = _at_layer(keep(keep(effects, "metric", COSINE), "method", METHOD))
    rows = rows[rows["reference"].str.startswith(VECTOR_OF)]
    return rows.assign(trait_a=rows["trait"], trait_b=rows["reference"].str.removeprefix(VECTOR_OF))


def agreement(effects: DataFrame) -> DataFrame:
    """Rank correlation of every two judges."""
    rows = keep(effects, "metric", RHO)
    return rows.assign(judge_a=rows["judge"], judge_b=rows["reference"])


def _at_layer(rows: DataFrame) -> DataFrame:
    return cast(DataFrame, rows.assign(layer=rows["layers"].astype(int)))
