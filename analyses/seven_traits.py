"""What two small models show of the seven traits of the persona-vectors paper, from prompts to a report.

The main job runs on every model with the same judges. A claim is a row: held-out separation by the persona vector,
and the effect of steering by every judge, each with its interval, n, null and judge. q are the main job's: both claims
of all traits of a model are corrected together, what speaks for specificity apart from them. What a model does not show
stays in the table.
"""

import argparse
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from persona_interp.effects import Effect, Source, load_claims, load_effects, write_effects, write_runs
from persona_interp.figures.forest import plot_forest
from persona_interp.figures.frames import distinct, keep
from persona_interp.figures.style import legend_below, panel_figure, paper_style, save_figure
from persona_interp.io import read_json, write_json
from persona_interp.models.identity import library_versions
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.effects import persona_effects
from persona_interp.studies.persona.results import TraitSummary, trait_summary
from persona_interp.studies.persona.rows import AUC, CHANGE, METHOD, PROMPTED, STUDY
from persona_interp.studies.persona.run import run_main_job
from persona_interp.tables import rows_of

TRAITS = ("evil", "sycophantic", "hallucinating", "humorous", "impolite", "optimistic", "apathetic")
EMBEDDING = "embedding (all-MiniLM-L6-v2)"
UNKNOWN = dict.fromkeys(field.name for field in fields(TraitSummary))


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


def run(config: Config, folder: Path, out: Path) -> pd.DataFrame:
    """Effects and claims of every model's main job, run or found done in `folder`, kept together in `out`."""
    homes = [run_main_job(config.main_job(size), folder / size.model) for size in config.sizes]
    effects = load_effects(homes)
    write_effects(out, STUDY, effects, load_claims(homes))
    return effects


def emit(folder: Path, effects: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """Effects and claims of the saved tables, kept in the folder; the effects are returned.

    Steering was not ranked among random directions, so that no effect has a test. Separation is the AUC of a layer
    that was searched on the same answers, without interval and test.

    Args:
        effects: steering by every judge; `claims` has the layers.
    """
    provenance, found = read_json(folder / "provenance.json"), []
    for model, own in provenance["runs"].items():
        summary, layers = [], keep(keep(claims, "model", model), "claim", "steering")
        rows = keep(effects, "model", model)
        for row in rows_of(keep(rows, "judge", EMBEDDING)):
            place = rows_of(keep(keep(layers, "trait", row["trait"]), "judge", EMBEDDING))[0]
            summary.append(
                trait_summary(
                    UNKNOWN
                    | {name: row[name] for name in ("trait", "effect", "effect_low", "effect_high")}
                    | {"chosen_layer": place["layer"], "chosen_coefficient": place["coefficient"]}
                    | {"effect_judge": EMBEDDING, "n_eval": row["n"], "n_eval_questions": row["n_questions"]},
                    folder,
                )
            )
        sizes = rows.assign(**dict.fromkeys(("g", "g_low", "g_high", "delta", "delta_low", "delta_high")))
        made, said = persona_effects({"effects": sizes}, summary, n_layers=own["n_layers"])
        made = [effect for effect in made if effect.metric == CHANGE]
        for row in rows_of(keep(keep(claims, "model", model), "claim", "separation")):
            made.append(
                Effect(
                    metric=AUC,
                    trait=row["trait"],
                    method=METHOD,
                    place="searched",
                    pooling="response_mean",
                    condition=f"{PROMPTED}, best layer of the same answers",
                    data="evaluation questions",
                    reference="chance, 0.5",
                    estimate=row["estimate"],
                    n=row["n"],
                ).at_block(row["layer"], own["n_layers"])
            )
        source = Source.of(STUDY, [provenance["config"], model], own, provenance["config"]["seed"])
        found.append((source, made, [claim for claim in said if claim.claim == "steering"]))
    write_runs(folder, STUDY, found)
    return load_effects(folder)


def plot(effects: pd.DataFrame, traits: tuple[str, ...], folder: Path) -> None:
    """The forest of claims: separation at the best layer, and steering at the chosen setting by every judge."""
    separation = keep(keep(effects, "metric", AUC), "place", "searched")
    steering = keep(keep(effects, "metric", CHANGE), "place", "chosen")
    shown = [("separation", separation, 0.5, "held-out AUC")]
    shown += [(f"steering, {judge}", keep(steering, "judge", judge), 0.0, "steered − unsteered, points of 100")
              for judge in distinct(steering, "judge")]  # fmt: skip
    with paper_style():
        columns = 2
        figure, grid = panel_figure(-(-len(shown) // columns), columns, panel_height=2.4)
        panels = [ax for line in grid for ax in line]
        for ax, (title, rows, chance, axis) in zip(panels, shown, strict=False):
            rows, names = rows.assign(series=rows["model"]), distinct(effects, "model")
            plot_forest(rows, ax, traits=traits, names=names, chance=chance, label=axis).set_title(title)
        for ax in panels[len(shown) :]:
            ax.remove()
        legend_below(figure)
        save_figure(figure, pd.concat([rows for _, rows, _, _ in shown]), folder, "claims_figure")


def collect(config: Config, runs: Path, out: Path) -> None:
    """Say what the models were asked, and what a reader must know beside the numbers."""
    provenance = {model: read_json(runs / model / f"provenance_{STUDY}.json") for model in config.models}
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
    effects = run(config, chosen.runs, chosen.out)
    collect(config, chosen.runs, chosen.out)
    plot(effects, config.traits, chosen.out)
    print(load_claims(chosen.out)[["model", "trait", "claim", "verdict", "sentence"]].to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
