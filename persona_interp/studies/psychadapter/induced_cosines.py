"""Whether an adapter's induced direction is a known vector: cosines, against covariance-matched random directions."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.directions.direction import Direction, check_same_model
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.statistics import permutation_p_value
from persona_interp.statistics.families import in_families
from persona_interp.statistics.levels import N_DRAWS, NULL_QUANTILE
from persona_interp.statistics.mean_shift import longer, mean_cosine, scatter_along
from persona_interp.statistics.null_directions import null_cosines, unit_rows
from persona_interp.statistics.permutation import possible
from persona_interp.statistics.streams import stream
from persona_interp.studies.psychadapter.induced_direction import METHOD, InducedShifts

EQUAL_COSINE = 0.9
"""Two directions are called equal at a layer where the interval of their cosine lies above this."""


@checked
def induced_cosines(
    shifts: InducedShifts,
    references: Mapping[str, Direction],
    *,
    own: str | None = None,
    n_draws: Count = N_DRAWS,
    seed: Seed = 0,
) -> pd.DataFrame:
    """Cosine of the induced direction with every reference: a row a layer and reference, interval over texts.

    `estimate` is of the population's mean shift: the texts' scatter, which turns the mean of few of them away from
    every reference, is taken off its length. It and its interval are NaN, and `equal` is False, where that length is
    not clearly above 0. Held fixed: references, adapter, trait values. Coverage: tests/golden/levels/induced.csv.

    Null: normal directions with the covariance of the texts' own residuals at the middle trait value, in place of the
    shift, and the shift's own scatter where it reaches further along the reference than theirs (`null_cosines`).
    `null_95` is the 95th percentile of their absolute cosine with the reference, on the scale of `estimate`, `p`
    (two-sided) the share of them that reach the one found, NaN with fewer than 19 draws, and `q` corrects it over this
    table, in which the layers of a reference are one claim (`in_families`); of several traits, correct them together.
    `others` is the largest absolute cosine with another reference at that layer, and `best_other` its name: a direction
    of one trait that lies as near to other traits' vectors is not specific. `equal` says whether the whole interval is
    above 0.9; a small q alone says that the two are related, not that they are the same.

    Args:
        references: persona or style vectors by name, of the same model.
        own: the reference that the adapter's trait should be, marked by the column `own`; default: that of its name.

    Raises:
        ConfigError: there is no reference, `own` is not among them, or there are fewer than three texts or one draw.
        AlignmentError: a reference lacks a layer.
        IncompatibleDirectionError: a reference belongs to another model.
    """
    own = shifts.trait if own is None and shifts.trait in references else own
    n_texts = shifts.values.shape[1]
    if not references or (own is not None and own not in references) or n_draws < 1 or n_texts < 3:
        raise ConfigError(
            f"the cosines of {shifts.trait} were asked for with {len(references)} references"
            f" ({', '.join(references) or 'none'}), own {own!r}, {n_draws} draws and {n_texts} texts.",
            "Expected references that hold the own one, a draw or more, and three texts or more.",
        )
    for direction in references.values():
        check_same_model(direction, shifts.provenance)
    vectors = _vectors(shifts, references)
    rng = stream(seed, "mixing")
    mixing = rng.standard_normal((n_draws, n_texts))
    middle = shifts.at(min(shifts.z_values, key=abs)).double().numpy()
    rows, testable = [], possible(1 / (1 + n_draws))
    for layer, hookpoint in enumerate(shifts.hookpoints):
        units, span = unit_rows(vectors[:, layer]), shifts.span[:, layer].double().numpy()
        centred = middle[:, layer] - middle[:, layer].mean(axis=0)
        found = [mean_cosine(span, unit) for unit in units]
        null = _null(centred, span, units, mixing, stream(seed, "noise", layer))
        plain = np.abs(units @ unit_rows(span.mean(axis=0, keepdims=True))[0])
        for k, name in enumerate(references):
            estimate, (low, high) = found[k]
            others = {other: abs(found[j][0]) for j, other in enumerate(references) if j != k}
            best = max(others, key=lambda other: others[other]) if others else ""
            rows.append(
                {
                    "trait": shifts.trait,
                    "layer": hookpoint.layer,
                    "reference": name,
                    "reference_method": references[name].method,
                    "own": name == own,
                    "estimate": estimate,
                    "low": low,
                    "high": high,
                    "n": n_texts,
                    "null_95": min(float(np.quantile(null[:, k], NULL_QUANTILE)) * longer(span), 1.0),
                    "p": permutation_p_value(float(plain[k]), null[:, k]) if testable else float("nan"),
                    "others": others[best] if others else float("nan"),
                    "best_other": best,
                    "equal": low > EQUAL_COSINE,
                }
            )
    table = pd.DataFrame(rows).assign(metric="cosine", method=METHOD, model=shifts.provenance.model)
    return cosines_in_families(table.sort_values(["reference", "layer"], kind="stable", ignore_index=True))


def cosines_in_families(table: pd.DataFrame) -> pd.DataFrame:
    """The table with q over cosines with a trait's own vector, and apart from them over those with others' vectors.

    A trait with a reference is a claim.
    """
    return in_families(table, ["trait", "reference"], primary=table["own"].to_numpy(bool))


def _vectors(
    shifts: InducedShifts, references: Mapping[str, Direction]
) -> Float[np.ndarray, "reference layer d_model"]:
    missing = [
        f"{name} at {hookpoint}"
        for name, direction in references.items()
        for hookpoint in shifts.hookpoints
        if hookpoint not in direction.hookpoints
    ]
    if missing:
        raise AlignmentError(f"there is no vector of {missing[0]}.", "Give references with a vector at every layer.")
    vectors = [
        [direction.at(place).double().numpy() for place in shifts.hookpoints] for direction in references.values()
    ]
    return np.array(vectors)


def _null(
    centred: Float[np.ndarray, "text d_model"],
    span: Float[np.ndarray, "text d_model"],
    units: Float[np.ndarray, "reference d_model"],
    mixing: Float[np.ndarray, "draw text"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "draw reference"]:
    """Absolute cosines of random directions' mean shifts with every reference."""
    cosines = null_cosines(centred, mixing, units, rng)
    shares = np.mean(cosines**2, axis=0)
    scatter = [scatter_along(span, unit, float(share)) for unit, share in zip(units, shares, strict=True)]
    return np.abs(cosines + np.array(scatter) * rng.standard_normal((len(cosines), 1)))
