"""The table of steered styles: every arm's expression and its effect against unsteered answers, with all its tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.errors import ConfigError
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.roles import CONTROL, NULL, TREATMENT
from persona_interp.measurements.roles import UNSTEERED as NO_CHANGE
from persona_interp.measurements.setting import COHERENT_SHARE, choose_coefficient
from persona_interp.statistics import (
    bootstrap_difference,
    bootstrap_mean,
    permutation_test_paired,
)
from persona_interp.statistics.draws import rank_among
from persona_interp.statistics.families import in_families
from persona_interp.statistics.levels import N_RESAMPLES
from persona_interp.statistics.power import detectable
from persona_interp.studies.styles.arms import PROMPT, SELECTION, UNSTEERED, is_random

_ARM = ["method", "layers", "coefficient"]
_CELL = ["style", "prompts", *_ARM]


@checked
def style_table(
    measured: Measurements, *, judge: str, tested: tuple[str, float], n_resamples: Count = N_RESAMPLES, seed: Seed = 0
) -> pd.DataFrame:
    """One row a style, set of evaluation prompts, arm and judge: mean expression, and what the arm changes.

    Columns: style, prompts, method, role, layers, coefficient, judge, estimate, low, high, effect, effect_low,
    effect_high, p (against unsteered answers to the same questions: sign flips over questions; NaN under six), q,
    p_random (rank of the effect among those of the random directions, each a draw; more expression; NaN under 19),
    q_random, declared, detectable (the least effect found in 80 % of repetitions), null_low, null_high (middle 95 % of
    the random directions' effects; missing with fewer than 40),
    n_random, n, n_questions, coherent_share, coherent, chosen. Intervals are over questions.

    A claim is what a vector (or the prompt) does to a style on one set of prompts. Its primary row is that of `judge`
    at `tested`; q corrects over primary rows and apart from them over all others (`in_families`).

    `chosen` marks for each vector and placement the coefficient that the selection prompts picked: the highest mean
    expression whose answers are coherent there, the weakest where none is.

    Args:
        judge: whose scores choose the coefficient, and rated the answers along random directions.
        tested: layers and coefficient of the test against random directions, named before any answer.

    Raises:
        ConfigError: this judge rated no answer.
    """
    scores, shares = _scores(measured, judge)
    chosen = _chosen(scores[scores["judge"] == judge], shares)
    random = is_random(scores["method"])
    null, drawn = _direction_effects(scores, judge), scores.loc[random, "method"].unique()
    rows = []
    evaluated = scores[(scores["prompts"] != SELECTION) & ~random]
    for (style, prompts, name), group in evaluated.groupby(["style", "prompts", "judge"], sort=False):
        place = {"style": style, "prompts": prompts, "judge": name}
        here = null[(null["style"] == style) & (null["prompts"] == prompts)].set_index("method")["effect"]
        effects = here.reindex(drawn).to_numpy(float)  # NaN where no answer along a direction could be rated
        rows += [
            place | row | (_against_random(row, effects, tested) if name == judge else _UNTESTED)
            for row in _arm_rows(group, n_resamples, seed)
        ]
    table = pd.DataFrame(rows)
    table["role"] = [_ROLES.get(str(method), TREATMENT) for method in table["method"]]
    table["coherent_share"] = [float(shares[tuple(key)]) for key in table[_CELL].itertuples(index=False)]
    table["coherent"] = table["coherent_share"] >= COHERENT_SHARE
    table["chosen"] = [tuple(key) in chosen for key in table[["style", *_ARM]].itertuples(index=False)]
    at_tested = (table["layers"] == tested[0]) & (table["coefficient"] == tested[1]) & (table["role"] == TREATMENT)
    table = steering_q(table, ["style", "prompts", "method"], (at_tested & (table["judge"] == judge)).to_numpy())
    table["detectable"] = detectable(table["effect_low"], table["effect_high"], table["n_questions"])
    return table[[*_FIRST, *(column for column in table.columns if column not in _FIRST)]]


def steering_q(table: pd.DataFrame, claims: Sequence[str], primary: Bool[np.ndarray, " _"]) -> pd.DataFrame:
    """The table with q and q_random, over its primary rows and apart from them over the others (`in_families`)."""
    return in_families(table, claims, primary=primary, tests={"p": "q", "p_random": "q_random"})


def _scores(measured: Measurements, judge: str) -> tuple[pd.DataFrame, pd.Series]:
    """Every score with its judge, and the share of coherent answers of every cell."""
    frame = _tidy(measured)
    scores = frame[frame["metric"] == "expression"]
    if judge not in set(scores["judge"]):
        known = ", ".join(sorted(set(scores["judge"]))) or "none"
        raise ConfigError(f"no answer was rated by {judge!r}.", f"Judges: {known}.")
    return scores, frame[frame["metric"] == "passes_gate"].groupby(_CELL)["value"].mean()


def _direction_effects(scores: pd.DataFrame, judge: str) -> pd.DataFrame:
    """Mean change of every random direction against unsteered answers to the same questions."""
    ours = scores[(scores["judge"] == judge) & (scores["prompts"] != SELECTION)]
    key = ["style", "prompts", "question", "sample"]
    plain = ours[ours["method"] == UNSTEERED][[*key, "value"]]
    steered = ours[is_random(ours["method"])].merge(plain, how="left", on=key, suffixes=("", "_plain"))
    steered["effect"] = steered["value"] - steered["value_plain"]
    grouped = steered.groupby(["style", "prompts", *_ARM], sort=False)
    found = grouped.agg(effect=("effect", "mean"), n_questions=("effect", "count")).reset_index()
    return found.assign(judge=judge, role=NULL)


def _against_random(
    row: dict[str, Any], effects: Float[np.ndarray, " draw"], tested: tuple[str, float]
) -> dict[str, float]:
    """The rank of an arm's effect among those of the random directions, at the place that was named for it."""
    if not len(effects) or (row["layers"], row["coefficient"]) != tested:
        return _UNTESTED
    rank = rank_among(row["effect"], effects)
    return {"p_random": rank.p, "null_low": rank.low, "null_high": rank.high, "n_random": rank.n}


_UNTESTED = {"p_random": float("nan"), "null_low": float("nan"), "null_high": float("nan"), "n_random": 0}
_ROLES = {UNSTEERED: NO_CHANGE, PROMPT: CONTROL}


def _tidy(measured: Measurements) -> pd.DataFrame:
    """Measurements with the trait as the style, and single blocks among the layers."""
    frame = measured.frame.rename(columns={"trait": "style"})
    several = frame["layers"]
    single = frame["layer"].astype("string").fillna("")
    return frame.assign(layers=np.where(several != "", several, single.astype(object)))


def _chosen(scores: pd.DataFrame, shares: pd.Series) -> set[tuple[Any, ...]]:
    """(style, method, layers, coefficient) of what the selection prompts picked, and of every prompted arm."""
    found: set[tuple[Any, ...]] = set()
    steered = scores[(scores["prompts"] == SELECTION) & (scores["coefficient"] > 0)]
    for (style, method, layers), group in steered.groupby(["style", "method", "layers"], sort=False):
        means = group.groupby("coefficient", as_index=False)["value"].mean().rename(columns={"value": "estimate"})
        share = [shares[style, SELECTION, method, layers, c] for c in means["coefficient"]]
        coefficient, _ = choose_coefficient(means.assign(coherent=np.array(share) >= COHERENT_SHARE))
        found.add((style, method, layers, coefficient))
    return found | {(style, PROMPT, "", 0.0) for style in set(scores["style"])}


def _arm_rows(group: pd.DataFrame, n_resamples: int, seed: int) -> list[dict[str, Any]]:
    """The arms of one style, set of prompts and judge."""
    by_arm = {key: part.set_index(["question", "sample"])["value"] for key, part in group.groupby(_ARM, sort=False)}
    plain = by_arm[UNSTEERED, "", 0.0]
    rows = []
    for (method, layers, coefficient), values in by_arm.items():
        interval = bootstrap_mean(values.to_numpy(float), _questions(values), n_resamples=n_resamples, seed=seed)
        row = {
            "method": method,
            "layers": layers,
            "coefficient": coefficient,
            "estimate": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
            "n_questions": interval.n_clusters,
        }
        if method != UNSTEERED:
            row |= _against(values, plain, n_resamples, seed)
        rows.append(row)
    return rows


def _against(values: pd.Series, plain: pd.Series, n_resamples: int, seed: int) -> dict[str, float]:
    """The difference from unsteered answers, paired over questions."""
    a, b = values.align(plain, join="inner")
    whole = (a.notna() & b.notna()).to_numpy()
    a, b = a[whole], b[whole]
    if a.empty:
        return dict.fromkeys(("effect", "effect_low", "effect_high", "p"), float("nan"))
    questions = _questions(a)
    ours, theirs = a.to_numpy(float), b.to_numpy(float)
    interval = bootstrap_difference(ours, theirs, questions, questions, n_resamples=n_resamples, seed=seed)
    test = permutation_test_paired(ours, theirs, questions, seed=seed)
    return {"effect": interval.estimate, "effect_low": interval.low, "effect_high": interval.high, "p": test.tested}


def _questions(values: pd.Series) -> np.ndarray:
    return values.index.get_level_values("question").to_numpy(object).astype(str)


_FIRST = [*_CELL, "role", "judge", "estimate", "low", "high", "effect", "effect_low", "effect_high", "p", "q"]
