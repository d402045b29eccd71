"""Tables of the saved results under today's intervals, p and q: a function a study, from its folder to its tables.

Where rows were kept, the project's own functions are applied to them. Where only a percentile interval was kept, the
interval is widened by `from_summaries`; p that were permutations are kept, and q is taken over the family named here.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from from_summaries import auc_ends, exact, p_of_zero, stretched
from jaxtyping import Float
from kept_results import read_tables
from saved_config import saved_provenance

from persona_interp.statistics import benjamini_hochberg, correlation_interval, permutation_test_correlation
from persona_interp.statistics.families import EXPLORATORY, claim_q, in_families
from persona_interp.statistics.levels import ALPHA
from persona_interp.studies.inventory.reliability import LEAST_ROWS
from persona_interp.studies.styles.arms import PROMPT, RANDOM, UNSTEERED
from persona_interp.studies.styles.probe import probe_q
from persona_interp.tables import read_table

Tables = dict[str, pd.DataFrame]
Column = Float[np.ndarray, " row"]

EMBEDDING = "embedding (all-MiniLM-L6-v2)"


def finetuning_shift(folder: Path) -> Tables:
    """A trait's own shift and expression at the named layer, a row a judge, from the runs; q over these rows.

    Of nulls and of what the data say before training, p as saved where a test is possible, q by the families of today.
    """
    found = []
    for (judge, trait), cell in read_table(folder / "cells.csv").groupby(["judge", "trait"], sort=False):
        columns = cell["shift"].to_numpy(float), cell["expression"].to_numpy(float), cell["data"].to_numpy(str)
        r, p = correlation_interval(*columns), permutation_test_correlation(*columns, alternative="greater").p_value
        found.append({"outcome_trait": trait, "judge": judge, "estimate": r.estimate, "low": r.low, "high": r.high})
        found[-1] |= {"n": r.n, "n_data": r.n_clusters, "p": p}
    nulls, predictors = read_tables(folder, "nulls", "predictors")
    predictors = predictors.drop(columns=["low", "high"]).assign(low=np.nan, high=np.nan)
    first = predictors["judge"].isna() | (predictors["judge"] == EMBEDDING)
    return {
        "reevaluated": _with_q(pd.DataFrame(found)),
        "reevaluated_nulls": _possible_nulls(nulls).drop(columns=["best_member", "best_value"]),
        "reevaluated_predictors": in_families(
            predictors, ["predictor", "trait", "against"], primary=first.to_numpy(bool)
        ),
    }


def seven_traits(folder: Path) -> Tables:
    """Steering effects, widened, with p of zero; q over the tests of the embedding judge, which was the headline."""
    table = read_table(folder / "effects.csv")
    effect = ["effect", "effect_low", "effect_high"]
    table = stretched(table, list(table["n_questions"]), columns=effect)
    estimate, low, high = (table[name].to_numpy(float) for name in effect)
    table["p"] = p_of_zero(estimate, low, high, list(table["n_questions"]))
    table["q"] = benjamini_hochberg(table["p"].where(table["judge"] == EMBEDDING).to_numpy(float))
    return {"reevaluated": table[["model", "trait", "judge", *effect, "p", "q", "n", "n_questions"]]}


def prevention(folder: Path) -> Tables:
    """Means widened over questions, texts or samples, shares exact; q over the changes from plain finetuning."""
    table = read_table(folder / "measured.csv")
    shares, changes = table["metric"].isin(["coherent", "accuracy"]), table["metric"] == "change from plain finetuning"
    texts, every, trait = (saved_provenance(folder, "config", name) for name in ("n_texts", "holdout", "trait"))
    held_out = len(range(0, saved_provenance(folder, "data", trait, "n"), every))
    clusters = table["metric"].map({"neutral loss": texts, "task loss": held_out}).fillna(table["n"]).astype(int)
    table = pd.concat([stretched(table[~shares], list(clusters[~shares])), exact(table[shares])]).sort_index()
    estimate, low, high = (table[name].to_numpy(float) for name in ("estimate", "low", "high"))
    table["n_clusters"] = clusters
    table["p"] = np.where(changes, p_of_zero(estimate, low, high, list(clusters)), np.nan)
    return {"reevaluated": _with_q(table)}


def monitor_robustness(folder: Path) -> Tables:
    """Cliff's delta with the interval of an AUC of as many independent answers a side as there are questions."""
    table = read_table(folder / "measured.csv")
    questions = table["n"] // (2 * saved_provenance(folder, "config", "n_samples"))  # n answers are on two sides
    ends = np.array([auc_ends((delta + 1) / 2, n) for delta, n in zip(table["estimate"], questions, strict=True)])
    table = table.assign(low=2 * ends[:, 0] - 1, high=2 * ends[:, 1] - 1, n_clusters=questions)
    return {"reevaluated": table}


def style_vectors(folder: Path) -> Tables:
    """Probes with the interval of an AUC of the rarer side's sentences; steering widened, q over all 208 tests.

    The null of random directions is left out: two a layer are draws to look at, no range and no test.
    """
    probe, steering = read_tables(folder / "tables", "style_probe", "style_steering")
    rarer = np.minimum(probe["n_test_style"], probe["n_test"] - probe["n_test_style"])
    ends = np.array([auc_ends(auc, int(n)) for auc, n in zip(probe["auc"], rarer, strict=True)])
    for columns in (["estimate", "low", "high"], ["effect", "effect_low", "effect_high"]):
        steering = stretched(steering, list(steering["n_questions"]), columns=columns)
    steering[["null_low", "null_high", "p_random", "q_random"]] = np.nan
    return {
        "tables/reevaluated_probe": probe.assign(low=ends[:, 0], high=ends[:, 1]),
        "tables/reevaluated_steering": _with_q(steering),
    }


def style_frames(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probe and steering as a study of styles has them today.

    q of the probes are by today's families. Nothing was named before the answers, and random directions are two draws.
    """
    probe, steering = read_tables(folder / "tables", "reevaluated_probe", "reevaluated_steering")
    probe = probe_q(probe, ["model", "corpus", "style"]).assign(detectable=np.nan)
    random = steering["method"].str.startswith(RANDOM)
    role = steering["method"].map({UNSTEERED: "unsteered", PROMPT: "control"}).fillna("treatment").mask(random, "null")
    layers = steering["layers"].map("{:g}".format).mask(steering["layers"].isna(), "")
    return probe, steering.assign(role=role, layers=layers, declared=EXPLORATORY, n_random=0, detectable=np.nan)


def psychadapter(folder: Path) -> Tables:
    """Slopes and losses widened; q over on-target, over other slopes, over losses, over own cosines."""
    names = ("big_five", "sentiment")
    losses = pd.concat([read_table(folder / n / "tables/psychadapter_nll.csv").assign(adapter=n) for n in names])
    losses = losses[losses["metric"] == "nll difference"].reset_index(drop=True)
    tables = {"reevaluated_losses": _with_q(stretched(losses, list(losses["n"])))}
    for name in names:
        slopes = read_table(folder / name / "tables/psychadapter_offtarget.csv")
        slopes = stretched(slopes, list(slopes["n_openings"]))
        parts = [_with_q(part) for _, part in slopes.groupby("on_target", sort=False)]
        tables[f"{name}/tables/reevaluated_slopes"] = pd.concat(parts).sort_index()
        induced = read_table(folder / name / "tables/psychadapter_induced.csv")
        own = induced[(induced["metric"] == "cosine") & induced["own"].eq(True)]
        tables[f"{name}/tables/reevaluated_induced"] = _with_q(own)
    return tables


def inventories(folder: Path) -> Tables:
    """Validity with q over its six tests; reliability without what fewer than ten rows cannot give."""
    validity, reliability = read_tables(folder, "validity", "reliability")
    few = (reliability["metric"] == "alpha") & (reliability["n"] < LEAST_ROWS)
    movement = read_table(folder / "movement.csv").drop(columns=["null_low", "null_high"])
    return {
        "reevaluated_validity": _with_q(validity),
        "reevaluated_reliability": reliability[~few],
        "reevaluated_movement": movement,
    }


def _possible_nulls(nulls: pd.DataFrame) -> pd.DataFrame:
    """Nulls with p where one of 0.05 is possible, and q over them, a trait and judge being one claim."""
    p = nulls["p"].where(nulls["p_floor"] <= ALPHA)
    return nulls.assign(p=p, q=claim_q(p.to_numpy(float), nulls["test"].to_numpy(str)))


def _with_q(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(q=benjamini_hochberg(table["p"].to_numpy(float)))
