"""Does the demo show the same thing from one seed to the next? The quick main job, a run a seed, and what each found.

Seeds change what is sampled: the answers that make the vector, those that are tested, and the random directions. Layers
that are chosen, claims, effects with their intervals, and what the gate of coherence lets pass stand a row a run.
"""

import argparse
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from kept_results import write_tables

from persona_interp.effects import saved_effects
from persona_interp.io import read_record, write_json
from persona_interp.report import write_report
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.effort import EFFORTS
from persona_interp.studies.persona.findings import claims, grade
from persona_interp.studies.persona.gate import PROMPTED
from persona_interp.studies.persona.results import TraitSummary, load_results
from persona_interp.studies.persona.rows import EXPRESSION, JUDGE_AUC, PASSING, STUDY
from persona_interp.studies.persona.run import run_main_job

KEPT = (
    *("auc", "auc_low", "auc_high", "best_layer", "p_shuffled", "p_random", "q_separation"),
    *("chosen_layer", "chosen_coefficient", "stability", "effect", "effect_low", "effect_high", "effect_unit"),
    *("test_layer", "test_coefficient", "test_effect", "effect_random_low", "effect_random_high", "n_random"),
    *("p_steering", "q_steering", "ungraded"),
)


def rows_of_run(folder: Path) -> list[dict[str, Any]]:
    """A row a trait of a finished run."""
    results, effects = load_results(folder), saved_effects(folder, STUDY)
    assert effects is not None, "a finished run has effects"
    seed, times = results.config["seed"], results.provenance["time_s"]
    return [
        {
            "trait": row.trait,
            "seed": seed,
            "dtype": results.provenance["dtype"],
            "grade": grade(row),
            "claims": " and ".join(claims(row)) or "none",
        }
        | {name: getattr(row, name) for name in KEPT}
        | _from_effects(effects[effects["trait"] == row.trait], row)
        | {"minutes": sum(times.values()) / 60}
        for row in results.summary
    ]


def _from_effects(effects: pd.DataFrame, row: TraitSummary) -> dict[str, Any]:
    """Whether expression rises with every strength above 0, what passes the gate, and the consensus' AUC on pairs."""
    swept = effects[(effects["metric"] == EXPRESSION) & (effects["judge"] == row.effect_judge)]
    dose = swept[swept["strength"] >= 0].sort_values("strength")["estimate"]
    passing = effects[effects["metric"] == PASSING].set_index("condition")["estimate"]
    known = effects[(effects["metric"] == JUDGE_AUC) & (effects["judge"] == row.effect_judge)]
    auc = known.loc[known["data"] == "hard pairs", "estimate"]
    corrupted = passing.drop([PROMPTED, "unsteered answers"], errors="ignore")
    return {
        "rises with every strength": bool(dose.is_monotonic_increasing) if len(dose) > 1 else None,
        "prompted answers that pass": passing.get(PROMPTED),
        "corrupted answers that pass, at most": corrupted.max() if len(corrupted) else None,
        "consensus, AUC on hard pairs": auc.iloc[0] if len(auc) else None,
    }


def main() -> None:
    """Run what is not there yet, and write tables under `analyses/results/demo/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/demo"))
    parser.add_argument("--runs", type=Path, default=Path("results/demo_seeds"), help="where the runs are kept")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--traits", default="impolite", help="separated by commas")
    parser.add_argument("--seeds", default="0,1,2")
    chosen = parser.parse_args()
    rows: list[dict[str, Any]] = []
    folders = []
    for trait in chosen.traits.split(","):
        for seed in map(int, chosen.seeds.split(",")):
            config = RunConfig(chosen.model, (trait,), effort="quick", seed=seed, **EFFORTS["quick"])
            folder = run_main_job(config, chosen.runs / f"{trait}-{seed}")
            write_report(folder)
            folders.append(folder)
            rows += rows_of_run(folder)
    table = pd.DataFrame(rows)
    write_tables(chosen.out, {"seeds": table})
    about = [read_record(folder / f"provenance_{STUDY}.json") for folder in folders]
    config = asdict(RunConfig(chosen.model, tuple(chosen.traits.split(",")), effort="quick", **EFFORTS["quick"]))
    write_json(chosen.out / "provenance.json", {"config": config, "runs": about})
    shutil.copyfile(folders[0] / "figures" / "headline.png", chosen.out / "headline.png")
    print(table.round(3).T.to_string())  # noqa: T201


if __name__ == "__main__":
    main()
