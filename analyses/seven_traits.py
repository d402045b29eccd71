"""What two small models show of the seven traits of the persona-vectors paper, from prompts to a report.

The main job runs on every model with the same judges. A claim is a row: held-out separation by the persona vector,
and the effect of steering by every judge, each with its interval, n, null and judge. q are the main job's: both claims
of all traits of a model are corrected together, what speaks for specificity apart from them. What a model does not show
stays in the table.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from kept_results import read_tables

from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import keep
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.io import read_json, write_json
from persona_interp.models.identity import library_versions
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.run import run_main_job
from persona_interp.tables import read_table, write_table

TRAITS = ("evil", "sycophantic", "hallucinating", "humorous", "impolite", "optimistic", "apathetic")
NULLS = ("p_shuffled", "p_random", "p_other_traits", "p_components")
CORRECTED = ("q_separation", "q_other_traits", "q_components")
"""Of the main job's summary: the claim of separation (shuffled labels and random directions), and its specificity."""
SHARED = ("effects", "agreement", "alpha", "baselines", "nulls", "prompted", "examples", "separation", "geometry")


@dataclass(frozen=True)
class Size:
    """A model, its likelihood judges (the first filters), and how much of it is asked."""

    model: str
    judge_models: tuple[str, ...] = ("smollm2-135m-instruct",)
    n_questions: int = 20
    n_eval_questions: int = 20


@dataclass(frozen=True)
class Config:
    """Which models and traits. A further likelihood judge that cannot tell a trait's exemplars apart is left out."""

    sizes: tuple[Size, ...]
    traits: tuple[str, ...] = TRAITS
    n_eval_samples: int = 1
    coefficients: tuple[float, ...] = (-0.15, 0.15)
    n_random: int | None = None
    seed: int = 0

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in order."""
        return tuple(size.model for size in self.sizes)

    def main_job(self, size: Size) -> RunConfig:
        """The configuration of the main job on one model."""
        return RunConfig(
            model=size.model,
            traits=self.traits,
            judge_models=size.judge_models,
            n_questions=size.n_questions,
            n_held_out_questions=size.n_eval_questions,
            n_eval_questions=size.n_eval_questions,
            n_eval_samples=self.n_eval_samples,
            coefficients=self.coefficients,
            n_random=self.n_random,
            n_selection_questions=min(10, size.n_questions),
            seed=self.seed,
        )


PRESETS = {
    "paper": Config(
        sizes=(
            Size("smollm2-135m-instruct"),
            Size(
                "gemma-3-270m",
                judge_models=("smollm2-135m-instruct", "gemma-3-270m"),
                n_questions=10,
                n_eval_questions=12,
            ),
        ),
    ),
    "quick": Config(
        sizes=(Size("smollm2-135m-instruct", n_questions=8, n_eval_questions=8),),
        traits=("impolite", "optimistic"),
    ),
}


def run(config: Config, folder: Path) -> pd.DataFrame:
    """The table of claims, after the main job of every model has been run or found done in `folder`."""
    for size in config.sizes:
        run_main_job(config.main_job(size), folder / size.model)
    return pd.concat([_claims(folder / model, model) for model in config.models], ignore_index=True)


def _claims(folder: Path, model: str) -> pd.DataFrame:
    effects, profile = read_tables(folder / "tables", "effects", "separation")
    rows: list[dict[str, Any]] = []
    for summary in read_json(folder / "summary.json"):
        best = profile[(profile["trait"] == summary["trait"]) & (profile["pooling"] == "response_mean")]
        rows.append(_separation(summary, best.loc[best["layer"] == summary["best_layer"]].iloc[0]))
        rows += [_steering(summary, row) for row in effects.to_dict("records") if row["trait"] == summary["trait"]]
    return pd.DataFrame(rows).assign(model=model)


def _separation(summary: Mapping[str, Any], at_best: pd.Series) -> dict[str, Any]:
    """Held-out AUC at the best layer; the null is the larger 95th percentile of both nulls at that layer alone."""
    return {
        "trait": summary["trait"],
        "claim": "separation",
        "judge": "system prompts",
        "estimate": summary["auc"],
        "low": summary["auc_low"],
        "high": summary["auc_high"],
        "null_low": np.nan,  # only its 95th percentile is kept
        "null_high": float(max(at_best["null_shuffled_95"], at_best["null_random_95"])),
        **{name: summary[name] for name in (*NULLS, *CORRECTED)},
        "layer": summary["best_layer"],
        "n": summary["n_kept_positive"] + summary["n_kept_negative"],
    }


def _steering(summary: Mapping[str, Any], effect: Mapping[str, Any]) -> dict[str, Any]:
    """Steered minus unsteered expression; only the headlining judge rated the answers under random directions."""
    headline = effect["judge"] == summary["effect_judge"]
    return {
        "trait": summary["trait"],
        "claim": "steering",
        "judge": effect["judge"],
        "estimate": effect["effect"],
        "low": effect["effect_low"],
        "high": effect["effect_high"],
        "null_low": summary["effect_random_low"] if headline else np.nan,
        "null_high": summary["effect_random_high"] if headline else np.nan,
        **dict.fromkeys((*NULLS, *CORRECTED), np.nan),
        "p_steering": summary.get("p_steering") if headline else np.nan,
        "q_steering": summary.get("q_steering") if headline else np.nan,
        "layer": summary["chosen_layer"],
        "coefficient": summary["chosen_coefficient"],
        "g": effect["g"],
        "n": effect["n"],
        "n_questions": effect["n_questions"],
    }


def plot(claims: pd.DataFrame, traits: tuple[str, ...], folder: Path) -> None:
    """The forest of claims: separation, and steering by every judge."""
    judges = list(dict.fromkeys(claims.loc[claims["claim"] == "steering", "judge"]))
    shown = [("separation", "system prompts", 0.5, "held-out AUC"), *(("steering", j, 0.0, j) for j in judges)]
    with paper_style():
        columns = 2
        figure, grid = panel_figure(-(-len(shown) // columns), columns, panel_height=2.4)
        panels = [ax for line in grid for ax in line]
        for ax, (claim, judge, chance, label) in zip(panels, shown, strict=False):
            rows = keep(keep(claims, "claim", claim), "judge", judge).assign(series=lambda frame: frame["model"])
            axis = label if claim == "separation" else "steered − unsteered, points of 100"
            plot_forest(rows, ax, traits=traits, names=list(dict.fromkeys(claims["model"])), chance=chance, label=axis)
            ax.set_title(claim if claim == "separation" else f"steering, {judge}")
        for ax in panels[len(shown) :]:
            ax.remove()
        legend_below(figure)
        save_figure(figure, claims, folder, "claims_figure")


def collect(config: Config, runs: Path, out: Path) -> None:
    """Tables of all models side by side, so that the numbers behind the figure are kept without the runs."""
    for name in SHARED:
        paths = {model: runs / model / "tables" / f"{name}.csv" for model in config.models}
        parts = [read_table(path).assign(model=model) for model, path in paths.items() if path.is_file()]
        if parts:
            write_table(out / f"{name}.csv", pd.concat(parts, ignore_index=True))
    provenance = {model: read_json(runs / model / "provenance.json") for model in config.models}
    notes = {
        model: {row["trait"]: row["notes"] for row in read_json(runs / model / "summary.json")}
        for model in config.models
    }
    write_json(
        out / "provenance.json",
        {"config": asdict(config), "runs": provenance, "notes": notes, "versions": library_versions()},
    )


def main() -> None:
    """Run the main job on every model and write tables and figure under `analyses/results/seven_traits/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick")
    parser.add_argument("--runs", type=Path, default=Path("results/seven_traits"), help="where the main jobs are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/seven_traits"))
    chosen = parser.parse_args()
    config = PRESETS[chosen.preset]
    claims = run(config, chosen.runs)
    write_table(chosen.out / "claims.csv", claims)
    collect(config, chosen.runs, chosen.out)
    plot(claims, config.traits, chosen.out)
    shown = claims[["model", "trait", "claim", "judge", "estimate", "low", "high"]]
    print(json.dumps({"rows": len(claims)}), "\n" + shown.round(2).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
