"""The table of steered styles: every arm's expression and its effect against unsteered answers, with all its tests."""

from typing import Any

import numpy as np
import pandas as pd

from persona_interp.errors import ConfigError
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.steering import COHERENT_SHARE, choose_setting
from persona_interp.measurements.style_arms import PROMPT, RANDOM, SELECTION, UNSTEERED
from persona_interp.statistics import (
    benjamini_hochberg,
    bootstrap_difference,
    bootstrap_mean,
    permutation_test_paired,
)

EXPRESSION = "expression: "
_ARM = ["method", "layers", "coefficient"]
_CELL = ["style", "prompts", *_ARM]


def style_table(measured: Measurements, *, judge: str, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """One row a style, set of evaluation prompts, arm and judge: mean expression, and what the arm changes.

    Columns: style, prompts, method, layers, coefficient, judge, estimate, low, high, effect, effect_low, effect_high, p
    (against unsteered answers to the same questions: bootstrap and sign flips over questions), null_low, null_high
    (effects of the random directions at the same blocks and coefficient), p_random (against their mean, paired), q and
    q_random (Benjamini-Hochberg over the table), n, n_questions, coherent_share, coherent, chosen.

    `chosen` marks for each vector and placement the coefficient that the selection prompts picked: the highest mean
    expression whose answers are coherent there, the weakest where none is. Random directions are rows too, with their
    own effects.

    Args:
        judge: whose scores choose the coefficient.

    Raises:
        ConfigError: this judge rated no answer.
    """
    frame = _tidy(measured)
    scores = frame[frame["metric"].str.startswith(EXPRESSION)]
    scores = scores.assign(judge=scores["metric"].str.removeprefix(EXPRESSION))
    if judge not in set(scores["judge"]):
        known = ", ".join(sorted(set(scores["judge"]))) or "none"
        raise ConfigError(f"no answer was rated by {judge!r}.", f"Judges: {known}.")
    shares = frame[frame["metric"] == "passes_gate"].groupby(_CELL)["value"].mean()
    chosen = _chosen(scores[scores["judge"] == judge], shares)
    rows = []
    for (style, prompts, name), group in scores[scores["prompts"] != SELECTION].groupby(
        ["style", "prompts", "judge"], sort=False
    ):
        place = {"style": style, "prompts": prompts, "judge": name}
        rows += [place | row for row in _arm_rows(group, n_resamples, seed)]
    table = pd.DataFrame(rows)
    table["coherent_share"] = [float(shares[tuple(key)]) for key in table[_CELL].itertuples(index=False)]
    table["coherent"] = table["coherent_share"] >= COHERENT_SHARE
    table["chosen"] = [tuple(key) in chosen for key in table[["style", *_ARM]].itertuples(index=False)]
    for p, q in (("p", "q"), ("p_random", "q_random")):
        table[q] = benjamini_hochberg(table[p].to_numpy(float))
    return table[[*_FIRST, *(column for column in table.columns if column not in _FIRST)]]


def _tidy(measured: Measurements) -> pd.DataFrame:
    """Measurements with the columns style, prompts and layers."""
    frame = measured.frame.rename(columns={"trait": "style", "run_id": "prompts"})
    several = frame["stream"].str.removeprefix("resid_post").str.strip()
    single = frame["layer"].astype("string").fillna("")
    return frame.assign(layers=np.where(several != "", several, single.astype(object)))


def _chosen(scores: pd.DataFrame, shares: pd.Series) -> set[tuple[Any, ...]]:
    """(style, method, layers, coefficient) of what the selection prompts picked, and of every prompted arm."""
    found: set[tuple[Any, ...]] = set()
    steered = scores[(scores["prompts"] == SELECTION) & (scores["coefficient"] > 0)]
    for (style, method, layers), group in steered.groupby(["style", "method", "layers"], sort=False):
        if str(method).startswith(RANDOM):
            continue
        means = group.groupby("coefficient", as_index=False)["value"].mean().rename(columns={"value": "estimate"})
        share = [shares[style, SELECTION, method, layers, c] for c in means["coefficient"]]
        cells = means.assign(
            coherent=np.array(share) >= COHERENT_SHARE, metric="expression", judge="", direction="persona", layer=0
        )
        found.add((style, method, layers, choose_setting(cells, judge="").coefficient))
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
            if not str(method).startswith(RANDOM):
                random = [
                    v for (m, la, c), v in by_arm.items() if m.startswith(RANDOM) and (la, c) == (layers, coefficient)
                ]
                row |= _against_random(values, plain, random, seed)
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
    return {"effect": interval.estimate, "effect_low": interval.low, "effect_high": interval.high, "p": test.p_value}


def _against_random(values: pd.Series, plain: pd.Series, random: list[pd.Series], seed: int) -> dict[str, float]:
    """The range of what random directions change, and the test of the arm against their mean."""
    if not random:
        return dict.fromkeys(("null_low", "null_high", "p_random"), float("nan"))
    effects = [float((of_one - plain).mean()) for of_one in random]
    mean = pd.concat(random, axis=1).mean(axis=1)
    a, b = values.align(mean, join="inner")
    whole = (a.notna() & b.notna()).to_numpy()
    test = permutation_test_paired(a[whole].to_numpy(float), b[whole].to_numpy(float), _questions(a[whole]), seed=seed)
    return {"null_low": min(effects), "null_high": max(effects), "p_random": test.p_value}


def _questions(values: pd.Series) -> np.ndarray:
    return values.index.get_level_values("question").to_numpy(object).astype(str)


_FIRST = [*_CELL, "judge", "estimate", "low", "high", "effect", "effect_low", "effect_high", "p", "q"]
