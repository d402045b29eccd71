"""Effects and claims of runs as tables, and q over any number of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.effects.effect import CLAIMS, EFFECTS, WHAT, Claim, Effect, Source, Verdict
from persona_interp.errors import AlignmentError
from persona_interp.statistics.families import NO_TEST, claim_q
from persona_interp.statistics.levels import ALPHA

_SAME_CLAIM = ("study", "model", "trait", "method", "substrate", "condition", "data", "metric", "reference")
"""Tests that agree in these are of one claim: they differ in place, strength, judge, seed or run."""


def verdict(q: float | None, low: float | None, high: float | None) -> Verdict:
    """`holds` where q is at most 0.05 and the interval lies above zero, `does not` where it lies below, or `undecided`.

    The interval is of the claimed quantity minus what it is when the claim is false.
    """
    if high is not None and high < 0:
        return "does not"
    return "holds" if rejected(q) and low is not None and low > 0 else "undecided"


def rejected(q: float | None) -> bool:
    """Whether there is a q, of 0.05 or less."""
    return q is not None and q <= ALPHA


def family_of(name: str, declared: str) -> str | None:
    """The family of a row of `in_families`; None where no test was possible."""
    return None if declared == NO_TEST else f"{name}, {declared}"


def effects_table(source: Source, effects: Sequence[Effect]) -> DataFrame:
    """The effects of one run as a table in the form `EFFECTS`, corrected within its families.

    Raises:
        AlignmentError: two effects are of the same thing, a value has the wrong kind, an interval ends before it
            begins, or a number is infinite.
    """
    rows = [{"effect_id": effect.id_in(source), **asdict(source), **_plain(effect)} for effect in effects]
    table = DataFrame(rows, columns=EFFECTS.names)
    outside = [
        effect.p for effect in effects if effect.p is not None and not (effect.p != effect.p or 0 <= effect.p <= 1)
    ]
    if outside:
        raise AlignmentError(f"p must be between 0 and 1, got {outside[0]:g}.")
    for effect in effects:
        numbers = [one for one in (effect.estimate, effect.low, effect.high) if one is not None]
        if any(math.isinf(one) for one in numbers):
            raise AlignmentError(
                f"an estimate and its interval must be finite, got {numbers}.", "Leave out what is not."
            )
        if effect.low is not None and effect.high is not None and not effect.low <= effect.high:
            raise AlignmentError(f"an interval must begin below its end, got {effect.low:g} to {effect.high:g}.")
    if len(again := table[table["effect_id"].duplicated()]):
        first = {name: value for name, value in again.iloc[0].items() if isinstance(value, str)}
        raise AlignmentError(
            f"two effects of {source.study} have the same trait, place, metric, test and judge.",
            f"The second: {', '.join(f'{name} {value}' for name, value in first.items() if name in WHAT)}.",
            "Give them different conditions, data or references.",
        )
    return with_q(EFFECTS.checked(table))


def q_of(effects: Sequence[Effect]) -> list[float]:
    """Q of every effect among these, as `effects_table` has it for a run; NaN where nothing was tested."""
    return effects_table(Source("these", "these"), effects)["q"].tolist()


def claims_table(source: Source, claims: Sequence[Claim]) -> DataFrame:
    """The claims of one run as a table in the form `CLAIMS`; `effects` are effect_ids joined by spaces."""
    names = [(claim.claim, claim.trait) for claim in claims]
    if twice := [name for name in names if names.count(name) > 1]:
        raise AlignmentError(f"two claims of {source.study} are called {twice[0][0]!r}, both of {twice[0][1]}.")
    rows = [
        {
            "study": source.study,
            "run_id": source.run_id,
            "model": source.model,
            **{name: getattr(claim, name) for name in ("claim", "trait", "rule", "verdict", "unit")},
            "sentence": _writable(claim.sentence),
            "effects": " ".join(effect.id_in(source) for effect in claim.effects),
            "detectable": claim.detectable,
        }
        for claim in claims
    ]
    return CLAIMS.checked(DataFrame(rows, columns=CLAIMS.names))


def with_q(effects: DataFrame) -> DataFrame:
    """The effects with q and n_family over all rows that are here, family by family.

    A family is named by its study and the column `family`; runs of one study are corrected together. Tests of a family
    that differ only in place, strength, judge, seed or run are one claim, and claims are the unit of error (`claim_q`):
    finding the same again under other seeds makes nothing else easier to claim. n_family counts the tests. Rows without
    p or family have neither.
    """
    q_values, sizes = np.full(len(effects), np.nan), np.full(len(effects), np.nan)
    p_values = effects["p"].to_numpy(float)
    tested = ~np.isnan(p_values) & effects["family"].notna().to_numpy()
    claims = effects.groupby(list(_SAME_CLAIM), dropna=False, sort=False).ngroup().to_numpy()
    families = effects.groupby(["study", "family"], dropna=False, sort=False).ngroup().to_numpy()
    for family in np.unique(families[tested]):
        rows = tested & (families == family)
        q_values[rows] = claim_q(p_values[rows], claims[rows])
        sizes[rows] = rows.sum()
    return effects.assign(q=q_values, n_family=pd.array(sizes, dtype="Int64"))


def _plain(effect: Effect) -> Mapping[str, Any]:
    """The fields of an effect, empty texts as missing, and text that cannot be written as escapes."""
    fields = asdict(effect) | {"detectable": effect.findable}
    return {name: None if value == "" else _writable(value) for name, value in fields.items()}


def _writable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
