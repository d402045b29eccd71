"""How well each layer tells styles apart in held-out sentences: a fresh probe a layer, and the style vector.

The published probing code keeps appending to one training set inside its loop over layers, so that later layers are
fitted on those before them; here every layer has a probe of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed, Some
from persona_interp.directions.probes import logistic_vectors
from persona_interp.directions.style import styles_of
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.progress import track
from persona_interp.statistics import Interval, auc_intervals
from persona_interp.statistics.families import in_families
from persona_interp.statistics.levels import CONFIDENCE, NULL_QUANTILE
from persona_interp.statistics.permutation import permutation_p_value, possible, shuffled_floor, shuffled_labels
from persona_interp.statistics.power import detectable_auc
from persona_interp.statistics.streams import stream
from persona_interp.types import Hookpoint

PROBE, VECTOR = "logistic probe", "style vector"
READOUTS = (PROBE, VECTOR)

Scores = Float[np.ndarray, "test layer"]


@checked
def style_probe(
    train: Activations,
    test: Activations,
    *,
    styles: Some[str] | None = None,
    n_null: Count = 1000,
    level: Between0And1 = CONFIDENCE,
    seed: Seed = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Held-out AUC of every style against the others, per layer, by a logistic probe and by the style vector.

    Columns: style, readout, layer, stream, auc, low, high (over sentences, or over pairs that say the same),
    null_95, null_max_95, p, p_max, q, declared, detectable, n_train, n_train_style, n_test, n_test_style. The row at
    resid_pre of layer 0 is the embedding of the last token alone: what punctuation gives away.

    The null shuffles the labels of the held-out sentences (within pairs, where sentences share one), with what was
    fitted held fixed. `p` belongs to a layer named in advance, `p_max` compares with the largest AUC over all layers
    of each draw, and `q` corrects `p_max` over styles, for the style vector (`declared`: primary) and apart from it
    for the probe (exploratory); see `in_families`. Without a style, `p_max` of the best layer was at most 0.05 in 0.054
    of 1,000 simulated sets. p is NaN with fewer than 19 draws, or pairs too few to reach 0.05. `detectable`: the AUC
    that exceeds null_max_95 in 80 % of repetitions.

    Args:
        train: of `extract_style_activations`; test: of other sentences, with the same hookpoints.
        styles: default: all.

    Raises:
        AlignmentError: the two differ in hookpoints or model, share a sentence, or hold values that are not finite.
        ConfigError: a style that one of them lacks.
    """
    _check(train, test)
    wanted = styles_of(train) if styles is None else tuple(styles)
    pairs = test.samples["pair"].to_numpy(object).astype(str)
    groups = pairs if len(np.unique(pairs)) < len(pairs) else np.zeros(len(pairs), dtype=int)
    parts = []
    for k, style in enumerate(track(wanted, "style probes", total=len(wanted), show=progress)):
        ours, labels = (_is_style(side, style) for side in (train, test))
        draws = shuffled_labels(labels, groups, n_null, stream(seed, "labels", k))
        for readout, vectors in _fitted(train, ours).items():
            scores = np.einsum("sld,ld->sl", test.values.double().numpy(), vectors)
            sides = scores[labels], scores[~labels], pairs[labels], pairs[~labels]
            intervals = auc_intervals(*sides, level=level)
            found = _rows(train.hookpoints, intervals, shuffled_aucs(scores, draws))
            rows = pd.DataFrame([{"style": style, "readout": readout, **row} for row in found])
            if not possible(shuffled_floor(labels, groups, n_null)):
                rows[["p", "p_max"]] = float("nan")
            sizes = {"n_train": len(ours), "n_train_style": int(ours.sum())}
            parts.append(rows.assign(**sizes, n_test=len(labels), n_test_style=int(labels.sum())))
    return probe_q(pd.concat(parts, ignore_index=True), ["style"])


def probe_q(table: pd.DataFrame, claims: Sequence[str]) -> pd.DataFrame:
    """The table with q of `p_max`: the style vector's rows are the primary family, the probe's exploratory."""
    primary = (table["readout"] == VECTOR).to_numpy()
    return in_families(table, claims, primary=primary, tests={"p_max": "q"}, adjusted=True)


def shuffled_aucs(scores: Scores, draws: Bool[np.ndarray, "draw test"]) -> Float[np.ndarray, "draw layer"]:
    """AUC of every layer's scores under every draw of labels, from one ranking."""
    n_style = draws.sum(axis=1, keepdims=True)
    sums = draws @ rankdata(scores, axis=0)
    return (sums - n_style * (n_style + 1) / 2) / (n_style * (draws.shape[1] - n_style))


def best_layers(table: pd.DataFrame) -> pd.DataFrame:
    """The row of the largest AUC of every style and readout, the earliest of equals; judge it by `p_max`."""
    blocks = table[table["stream"] == "resid_post"]
    return blocks.loc[blocks.groupby(["style", "readout"], sort=False)["auc"].idxmax()].reset_index(drop=True)


def _fitted(train: Activations, ours: Bool[np.ndarray, " train"]) -> Mapping[str, Float[np.ndarray, "layer d_model"]]:
    """What each readout projects on, fitted anew at every layer."""
    values = train.values.double().transpose(0, 1)
    inside = torch.tensor(ours)
    positive, negative = values[:, inside], values[:, ~inside]
    probes = logistic_vectors(positive, negative)
    return {PROBE: probes.numpy(), VECTOR: (positive.mean(1) - negative.mean(1)).numpy()}


def _rows(
    hookpoints: Sequence[Hookpoint], intervals: Sequence[Interval], null: Float[np.ndarray, "draw layer"]
) -> list[dict[str, Any]]:
    maxima = null.max(axis=1)
    upper = float(np.quantile(maxima, NULL_QUANTILE))
    return [
        {
            "layer": hookpoint.layer,
            "stream": hookpoint.stream,
            "auc": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "null_95": float(np.quantile(null[:, layer], NULL_QUANTILE)),
            "null_max_95": upper,
            "p": permutation_p_value(interval.estimate - 1e-9, null[:, layer]),
            "p_max": permutation_p_value(interval.estimate - 1e-9, maxima),
            "detectable": float(detectable_auc(interval.error, interval.freedom, upper)),
        }
        for layer, (hookpoint, interval) in enumerate(zip(hookpoints, intervals, strict=True))
    ]


def _is_style(activations: Activations, style: str) -> Bool[np.ndarray, " sample"]:
    found = (activations.samples["style"] == style).to_numpy(bool)
    if found.all() or not found.any():
        known = ", ".join(styles_of(activations))
        raise ConfigError(f"{style} cannot be told apart here: the sentences are of {known}.", "Give other styles.")
    return found


def _check(train: Activations, test: Activations) -> None:
    if train.hookpoints != test.hookpoints or train.provenance.weights != test.provenance.weights:
        raise AlignmentError("training and test activations differ in hookpoints or model.", "Extract both alike.")
    for name, side in (("training", train), ("test", test)):
        missing = [column for column in ("style", "text", "pair") if column not in side.samples]
        if missing:
            raise AlignmentError(
                f"the {name} activations have no column {missing[0]}.", "extract_style_activations gives all three."
            )
        if not side.values.isfinite().all():
            raise AlignmentError(f"the {name} activations are not all finite.", "Leave those sentences out.")
    shared = set(train.samples["text"]) & set(test.samples["text"])
    if shared:
        raise AlignmentError(
            f"{len(shared)} sentences are in training and in test, such as {sorted(shared)[0][:60]!r}.",
            "Split the corpus first: corpus.split().",
        )
