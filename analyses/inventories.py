"""Does a personality inventory measure anything in a small language model?

Big Five statements to rate, Big Five statements to say and a type, each scored by log-probabilities alone. Baseline:
scores, what the answers follow (content, position, wording), the default type with its uncertainty. Movement: high
against low of each trait by system prompts, by persona vectors on both sides of zero and, where given, by an adapter.
The inventory is valid where high against low of a trait moves that trait's scale more than the others: the diagonal
of the movement minus its off-diagonal, with an interval over items and all 120 assignments of traits to scales as a
null. Persona vectors also stand beside random directions of equal norm.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from persona_interp.data.inventories import load_inventory
from persona_interp.effects import load_effects, write_runs
from persona_interp.figures.frames import keep
from persona_interp.figures.style import paper_style, save_figure
from persona_interp.identity import of_package
from persona_interp.io import write_json
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.studies.inventory.effects import STUDY
from persona_interp.studies.inventory.figures import draw_inventory, draw_movement
from persona_interp.studies.inventory.movement import ALL, Contrast, movement_table, validity_table
from persona_interp.studies.inventory.run import inventory_tables
from persona_interp.studies.inventory.saved import validity_runs
from persona_interp.studies.inventory.validity import RATED, SAID, TYPED, ValidityRun, baseline_answers, contrasts

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""


@dataclass(frozen=True)
class Config(ValidityRun):
    """Models and sizes; layer and coefficients are named before anything is measured."""

    models: tuple[str, ...] = ("smollm2-135m-instruct", "gemma-3-270m")
    n_resamples: int = 2000
    dtype: str = "float32"
    device: str | None = None


PRESETS = {
    "quick": Config(),
    "paper": Config(
        n_prompts=5,
        n_rated=10,
        rated_wordings=("accuracy_numbers", "agreement_letters", "frequency_words"),
        n_instructions=5,
        n_questions=20,
        extraction_tokens=40,
        n_random=39,
        n_resamples=4000,
    ),
}
CHOICE = (
    "layer and coefficient were named beforehand. The format of said statements and two of its wordings were kept after"
    " a look at other items, on both models, under some of these system prompts; no item here was in that look."
)


def run(config: Config, work: Path, adapters: Mapping[str, Path], out: Path) -> pd.DataFrame:
    """Baseline, movement and validity on every model: effects and claims in `out`; the table of validity."""
    base, moved, models = [], list[Contrast](), {}
    for name in config.models:
        model = load_model(name, dtype=config.dtype, device=config.device)
        models[name] = model.provenance.to_dict()
        base += baseline_answers(model, config)
        moved += contrasts(model, config, work / name.replace("/", "_") / "rollouts", adapters.get(name))
    sizes = {"n_resamples": config.n_resamples, "seed": config.seed}
    found = inventory_tables(base, **sizes)
    tables = {
        "scores": found.scores,
        "reliability": found.reliability,
        "types": found.dichotomies,
        "movement": movement_table(moved, **sizes),
        "validity": validity_table(moved, **sizes),
    }
    hashes = {name: load_inventory(name).data_hash for name in (RATED, SAID, TYPED)}
    said = {"config": asdict(config), "adapters": sorted(adapters), "inventories": hashes, "models": models}
    write_runs(out, STUDY, validity_runs(tables, config, models, [said, of_package(METHOD_VERSION)]))
    write_json(out / "provenance.json", {**said, "versions": library_versions(), "notes": {"choice": CHOICE}})
    return tables["validity"]


def draw(folder: Path) -> None:
    """Figures from the effects alone."""
    effects = keep(load_effects(folder), "study", STUDY)
    with paper_style():
        for made in (*draw_inventory(effects), draw_movement(effects)):
            save_figure(made.figure, made.frame, folder, made.name)


def main() -> None:
    """Administer, and write effects, claims and figures under `analyses/results/inventories/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    times = "on 2 cores quick takes about 12 minutes, paper about 2 hours (estimated)"
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick", help=times)
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--adapter", action="append", default=[], metavar="MODEL=FILE", help="a saved PsychAdapter")
    parser.add_argument("--work", type=Path, default=Path("results/inventories"), help="where rollouts are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/inventories"))
    chosen = parser.parse_args()
    adapters = {name: Path(path) for name, _, path in (text.partition("=") for text in chosen.adapter)}
    config = replace(PRESETS[chosen.preset], device=chosen.device)
    if unknown := sorted(set(adapters) - set(config.models)):
        parser.error(f"no model is called {unknown[0]!r} here: {', '.join(config.models)}")
    validity = run(config, chosen.work / chosen.preset, adapters, chosen.out)
    draw(chosen.out)
    whole = validity[validity["scale"] == ALL]
    print(whole.drop(columns=["inventory", "scale"]).round(3).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
