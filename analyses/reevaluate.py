"""Saved results evaluated again by today's intervals, p and q, from what their tables hold: no model runs.

Writes `reevaluated*.csv` beside the tables they are made from, and a study's effects and claims from those; draws the
figures that show intervals again, and says in each study's `provenance.json` what was made from what, when, and what
its other tables' intervals and p are. What the numbers mean is in `analyses/README.md`, whose table of claims
`analyses/claims.py` makes.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import emitted_effects
import monitoring
import numpy as np
import pandas as pd
import reevaluated_tables as tables_of
import screening
from kept_results import write_tables
from reevaluated_tables import Tables

from persona_interp.io import read_json, sha256_file, write_json
from persona_interp.models.identity import library_versions
from persona_interp.studies.trait_geometry.run import write_geometry_effects
from persona_interp.tables import read_table

PERCENTILES = "intervals are bootstrap percentiles, which cover 0.89 to 0.93 of means over 8 to 40 questions"
AS_SAVED = {
    "monitoring": {
        "correlations.csv, nulls.csv": "intervals hold for these system prompts only and cover 0.49 for"
        " new ones; q is over all layers of both tables; a best layer is chosen on these data",
        "alarms.csv": "thresholds are percentiles of 60 answers, which 0.06 to 0.07 of new ones pass at a rate of 0.05",
    },
    "finetuning_shift": {
        "correlations.csv, predictors.csv, claims.csv, before_training and specificity figures": "intervals are"
        " bootstrap percentiles over 13 data sets, too narrow; the rows of the predictors were not kept",
        "nulls.csv": "200 draws, of which the smallest q over so many tests is 0.4 here",
    },
    "seven_traits": {
        "separation.csv, baselines.csv, nulls.csv": "AUC intervals are bootstrap percentiles of a layer"
        " chosen on the same answers: they cover 0.54 to 0.73, and the AUC is 0.06 too high where there is nothing;"
        " the nulls exchange answers and not system prompts, and reject 0.31 to 0.86 where prompts differ without a"
        " trait; other traits and components are too few members to reject",
        "effects.csv, prompted.csv, agreement.csv, alpha.csv": PERCENTILES + "; three random directions are no null",
        "claims.csv": "as separation.csv and effects.csv; q is over all null p of both models together",
    },
    "prevention": {"measured.csv, claims.csv": PERCENTILES + "; no q"},
    "monitor_robustness": {"claims.csv": "intervals are bootstrap percentiles, which cover 0.74 of AUCs near 1; no q"},
    "style_vectors": {
        "tables/style_probe.csv": "intervals are bootstrap percentiles, which cover 0.74 of AUCs near 1",
        "tables/style_steering.csv": PERCENTILES + "; null_low, null_high, p_random and q_random take two random"
        " directions a layer as if they were all: 0.15 to 0.39 of such tests reject where directions differ",
    },
    "psychadapter": {
        "*/tables/psychadapter_expression.csv, psychadapter_offtarget.csv, the figures": PERCENTILES,
        "*/tables/psychadapter_induced.csv": "intervals do not correct for the scatter of texts, which makes cosines"
        " too small; q is over all cosines with an adapter's own and others' directions",
    },
    "inventories": {
        "reliability.csv": "alpha over 2 to 6 rows says nothing: its intervals cover 0.78 to 0.86 and go to -8645",
        "movement.csv": "null_low and null_high are two of five random directions, which are no range",
        "validity.csv": "p is before correction; one scale's p is not given, since no assignment tests it",
    },
}


def seven_traits(folder: Path) -> Tables:
    """Steering effects, evaluated again, and the claims with them."""
    tables = tables_of.seven_traits(folder)
    return {**tables, "reevaluated_claims": _claims(read_table(folder / "claims.csv"), tables["reevaluated"])}


def _claims(claims: pd.DataFrame, effects: pd.DataFrame) -> pd.DataFrame:
    """The claims with steering as evaluated now, and without what is not at its level.

    Left out: intervals of best layers, ranges of three directions, q over all p of both models.
    """
    steering = claims["claim"] == "steering"
    claims = claims.drop(columns=[name for name in claims if str(name).startswith("q_")])
    claims = claims.assign(low=np.nan, high=np.nan, null_low=np.nan, null_high=np.nan)
    new = effects.rename(columns={"effect_low": "new_low", "effect_high": "new_high"})
    keys = ["model", "trait", "judge"]
    claims = claims.merge(new[[*keys, "new_low", "new_high"]], on=keys, how="left", validate="many_to_one")
    claims["low"], claims["high"] = (claims[f"new_{end}"].where(steering) for end in ("low", "high"))
    return claims.drop(columns=["new_low", "new_high"])


STUDIES: dict[str, Callable[[Path], Tables]] = {
    "seven_traits": seven_traits,
    "finetuning_shift": tables_of.finetuning_shift,
    "prevention": tables_of.prevention,
    "monitor_robustness": tables_of.monitor_robustness,
    "style_vectors": tables_of.style_vectors,
    "psychadapter": tables_of.psychadapter,
    "inventories": tables_of.inventories,
}


EFFECTS: dict[str, Callable[[Path], None]] = {
    "seven_traits": emitted_effects.seven_traits,
    "finetuning_shift": emitted_effects.finetuning_shift,
    "prevention": emitted_effects.prevention,
    "monitor_robustness": emitted_effects.monitor_robustness,
    "style_vectors": emitted_effects.style_vectors,
    "psychadapter": emitted_effects.psychadapter,
    "inventories": emitted_effects.inventories,
    "monitoring": monitoring.emit,
    "screening": screening.emit,
    "trait_geometry": write_geometry_effects,
}
"""What writes a study's effects and claims from its saved tables, and draws them."""


def main() -> None:
    """Evaluate every study again, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("analyses/results"))
    every = list(dict.fromkeys([*STUDIES, *EFFECTS]))
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{', '.join(every)}; default: all")
    chosen = parser.parse_args()
    for study in chosen.studies or every:
        if study not in every:
            parser.error(f"no study is called {study!r}: {', '.join(every)}")
        folder = chosen.results / study
        if study in STUDIES:
            _evaluate(study, folder)
        if study in EFFECTS:
            EFFECTS[study](folder)
        if study in AS_SAVED and study not in STUDIES:
            _note(folder / "provenance.json", {}, AS_SAVED[study])


def _evaluate(study: str, folder: Path) -> None:
    tables = STUDIES[study](folder)
    write_tables(folder, tables, digits=6)
    hashes = {f"{name}.csv": sha256_file(folder / f"{name}.csv") for name in tables}
    _note(folder / "provenance.json", hashes, AS_SAVED.get(study, {}))
    print(f"{study}: {', '.join(hashes)}")  # noqa: T201


def _note(path: Path, hashes: dict[str, str], as_saved: dict[str, str]) -> None:
    """Say in the study's provenance what was evaluated again; the date stays where the tables did."""
    said = read_json(path)
    before = said.get("reevaluated", {})
    today = datetime.now(UTC).date().isoformat()
    said["reevaluated"] = {
        "by": "analyses/reevaluate.py",
        "package": library_versions()["persona-interp"],
        "date": before["date"] if before.get("sha256") == hashes else today,
        "sha256": hashes,
        "as saved": as_saved,
    }
    write_json(path, said)


if __name__ == "__main__":
    main()
