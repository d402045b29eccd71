"""Saved results evaluated again by today's intervals, where their tables hold the rows: no model runs.

So far the monitoring correlations at the layer that was named: for new questions, and for new conditions too.
"""

import argparse
from pathlib import Path

import pandas as pd

from persona_interp.errors import EmptySelectionError
from persona_interp.io import atomic_write_bytes
from persona_interp.statistics import Interval, correlation_interval, within_condition_correlation

SCOPES = ("overall", "within")
KEYS = ["trait", "kind", "condition", "question"]


def monitoring(projections: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """A row a trait, kind of condition, judge and scope: r with both intervals.

    Args:
        projections: of the named layer, a row a unit; units: the same with a column a judge.
    """
    judges = [name for name in units.columns if name not in (*KEYS, "level")]
    rows = projections[[*KEYS, "projection"]].merge(units, on=KEYS, validate="one_to_one")
    long = rows.melt([*KEYS, "projection"], judges, var_name="judge", value_name="expression")
    found = []
    for (trait, kind, judge), cell in long.dropna().groupby(["trait", "kind", "judge"], sort=False):
        for scope in SCOPES:
            these, new = (_correlation(cell, scope, new_conditions=new) for new in (False, True))
            found.append(
                {
                    **{"trait": trait, "kind": kind, "judge": judge, "scope": scope, "estimate": these.estimate},
                    **{"low": these.low, "high": these.high, "low_new": new.low, "high_new": new.high},
                    **{"n": these.n, "n_questions": these.n_clusters, "n_conditions": cell["condition"].nunique()},
                }
            )
    return pd.DataFrame(found)


def _correlation(cell: pd.DataFrame, scope: str, *, new_conditions: bool) -> Interval:
    x, y = cell["projection"].to_numpy(float), cell["expression"].to_numpy(float)
    conditions, questions = (cell[name].to_numpy(object).astype(str) for name in ("condition", "question"))
    also = conditions if new_conditions else None
    if scope == "overall":
        return correlation_interval(x, y, questions, also=also)
    try:
        return within_condition_correlation(x, y, conditions, clusters=questions, also=also)
    except EmptySelectionError:
        return Interval(*(float("nan"),) * 3, n=0, n_clusters=0)


def main() -> None:
    """Read the saved rows and write the table beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("analyses/results"))
    folder = parser.parse_args().results / "monitoring"
    table = monitoring(*(pd.read_csv(folder / f"{name}.csv") for name in ("projection_and_expression", "units")))
    atomic_write_bytes(folder / "reevaluated.csv", table.to_csv(index=False, float_format="%.4f").encode())
    print(table.round(2).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
