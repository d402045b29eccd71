"""Saved results evaluated again by today's intervals, p and q, from what their tables hold: no model runs.

Writes `reevaluated*.csv` beside the tables they are made from, draws the figures that show intervals again, and says in
each study's `provenance.json` what was made from what, when, and what its other tables' intervals and p are. Screening
kept every row, so its own tables are made again. What the numbers mean is in `analyses/README.md`.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import reevaluated_tables as tables_of
from finetuning_shift import draw_points
from kept_results import write_tables
from monitor_robustness import draw as draw_detectors
from prevention import PRESETS as PREVENTION
from prevention import claims as prevention_claims
from prevention import draw as draw_prevention
from reevaluated_tables import EMBEDDING, Tables
from saved_config import saved_config, saved_provenance
from screening import PRESETS as SCREENING
from screening import Measured, evaluate
from screening import claims as screening_claims
from screening import draw as draw_screening
from seven_traits import plot as plot_claims
from style_vectors import draw as draw_styles

from persona_interp.directions.style import published_layers
from persona_interp.effects import Run, load_effects, write_runs
from persona_interp.figures.frames import keep
from persona_interp.figures.style import paper_style, save_figure
from persona_interp.io import read_json, sha256_file, write_json
from persona_interp.models.identity import library_versions
from persona_interp.studies.inventory import saved as inventories
from persona_interp.studies.inventory.effects import STUDY as INVENTORY
from persona_interp.studies.inventory.figures import draw_inventory_reliability
from persona_interp.studies.judge_validity.effects import STUDY as JUDGES
from persona_interp.studies.judge_validity.effects import judge_runs
from persona_interp.studies.psychadapter import saved as adapters
from persona_interp.studies.psychadapter.effects import STUDY as ADAPTERS
from persona_interp.tables import read_table

PERCENTILES = "intervals are bootstrap percentiles, which cover 0.89 to 0.93 of means over 8 to 40 questions"
AS_SAVED = {
    "monitoring": {
        "correlations.csv, nulls.csv, the figures": "intervals hold for these system prompts only and cover 0.49 for"
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
    "judge_validity": {"judge_validity.csv": "intervals are bootstrap percentiles, which cover 0.74 of AUCs near 1"},
    "inventories": {
        "reliability.csv": "alpha over 2 to 6 rows says nothing: its intervals cover 0.78 to 0.86 and go to -8645",
        "movement.csv": "null_low and null_high are two of five random directions, which are no range",
        "validity.csv": "p is before correction; one scale's p is not given, since no assignment tests it",
    },
}


def screening(folder: Path) -> Tables:
    """All tables of the study from its scored samples."""
    measured = evaluate(read_table(folder / "samples.csv"), saved_config(folder, SCREENING["quick"]))
    made = {"detection": measured.detection, "differences": measured.differences, "thresholds": measured.thresholds}
    return {**made, "claims": screening_claims(measured)}


def prevention(folder: Path) -> Tables:
    """What was measured, evaluated again, and the claims from it."""
    tables, config = tables_of.prevention(folder), saved_config(folder, PREVENTION["quick"])
    return {**tables, "reevaluated_claims": prevention_claims(tables["reevaluated"], config, EMBEDDING)}


def seven_traits(folder: Path) -> Tables:
    """Steering effects, evaluated again, and the claims with them."""
    tables = tables_of.seven_traits(folder)
    return {**tables, "reevaluated_claims": _claims(read_table(folder / "claims.csv"), tables["reevaluated"])}


STUDIES: dict[str, Callable[[Path], Tables]] = {
    "monitoring": tables_of.monitoring,
    "seven_traits": seven_traits,
    "finetuning_shift": tables_of.finetuning_shift,
    "prevention": prevention,
    "screening": screening,
    "monitor_robustness": tables_of.monitor_robustness,
    "style_vectors": tables_of.style_vectors,
    "psychadapter": tables_of.psychadapter,
    "inventories": tables_of.inventories,
    "judge_validity": tables_of.judge_validity,
}


def judges(folder: Path) -> list[Run]:
    """The judges, from their AUCs with today's intervals; p was not kept."""
    return judge_runs(read_table(folder / "reevaluated.csv"), saved_provenance(folder, "config"))


EFFECTS: dict[str, tuple[str, Callable[[Path], list[Run]]]] = {
    "psychadapter": (ADAPTERS, adapters.saved_runs),
    "inventories": (INVENTORY, inventories.saved_runs),
    "judge_validity": (JUDGES, judges),
}
"""Results that are written as effects and claims too: the name of the study, and its runs from the saved tables."""


def draw(study: str, tables: Tables, folder: Path) -> None:
    """The figures of a study that show intervals, from its new tables."""
    match study:
        case "seven_traits":
            plot_claims(tables["reevaluated_claims"], tuple(saved_provenance(folder, "config", "traits")), folder)
        case "finetuning_shift":
            cells = keep(read_table(folder / "cells.csv"), "judge", EMBEDDING)
            draw_points(cells, keep(tables["reevaluated"], "judge", EMBEDDING), folder)
        case "prevention":
            draw_prevention(tables["reevaluated"], saved_config(folder, PREVENTION["quick"]), EMBEDDING, folder)
        case "screening":
            made = (tables[name] for name in ("detection", "differences", "thresholds"))
            measured = Measured(read_table(folder / "samples.csv"), *made)
            draw_screening(measured, saved_config(folder, SCREENING["quick"]), folder)
        case "monitor_robustness":
            draw_detectors(tables["reevaluated"], folder)
        case "style_vectors":
            probe, steering = (tables[f"tables/reevaluated_{name}"] for name in ("probe", "steering"))
            steered = saved_provenance(folder, "config", "models")[0]
            layers = published_layers(saved_provenance(folder, "models", steered, "n_layers"))
            draw_styles(probe, steering, layers, folder)
        case "inventories":
            effects = keep(load_effects(folder), "study", INVENTORY)
            with paper_style():
                for made in draw_inventory_reliability(effects):
                    save_figure(made.figure, made.frame, folder, made.name)


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


def main() -> None:
    """Evaluate every study again, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("analyses/results"))
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{', '.join(STUDIES)}; default: all")
    chosen = parser.parse_args()
    for study in chosen.studies or STUDIES:
        if study not in STUDIES:
            parser.error(f"no study is called {study!r}: {', '.join(STUDIES)}")
        folder = chosen.results / study
        tables = STUDIES[study](folder)
        write_tables(folder, tables, digits=6)
        hashes = {f"{name}.csv": sha256_file(folder / f"{name}.csv") for name in tables}
        if study in EFFECTS:
            name, runs = EFFECTS[study]
            write_runs(folder, name, runs(folder))
        draw(study, tables, folder)
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
