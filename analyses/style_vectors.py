"""Do style vectors exist in small models, where, and do they steer better than asking does?

Per corpus and model: held-out AUC of a fresh logistic probe at every layer and of the style vector, against shuffled
labels and their largest value over layers. Then, on one model, sentiment and some emotions are steered with every kind
of vector (from sentences, read at the block or one block earlier as published, from the model's own answers, trained),
at one layer and at the three published ones, with equal lengths, beside the prompt that asks for the style and random
directions. Factual and subjective prompts are apart. Coefficients are chosen on prompts that evaluate nothing.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from kept_results import write_tables

from persona_interp.data.styles import load_styles
from persona_interp.directions.style import extract_style_activations, published_layers
from persona_interp.directions.style_training import StyleTraining
from persona_interp.effects import Source, load_effects, write_runs
from persona_interp.figures.style import paper_style, save_figure
from persona_interp.io import write_json
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.statistics.families import PRIMARY
from persona_interp.studies.styles.arms import StyleSteering
from persona_interp.studies.styles.config import StyleRun, Variant
from persona_interp.studies.styles.effects import STUDY, style_effects
from persona_interp.studies.styles.figures import draw_style_steering, draw_styles
from persona_interp.studies.styles.judges import style_judges
from persona_interp.studies.styles.probe import PROBE, probe_q, style_probe
from persona_interp.studies.styles.run import run_styles
from persona_interp.studies.styles.table import steering_q


@dataclass(frozen=True)
class Config:
    """Which models and corpora are probed, and what is steered with what.

    Args:
        steered: corpus -> styles; the first model is steered.
        joint: also at the three published layers together.
        training: of the trained variant. The paper's step of 0.01 is small for this model, whose residuals at the
            steered blocks are some 200 long: a step of 0.1 had emitted none of 8 short sentences after 150 steps, a
            step of 1.0 all of 4 after 113 to 131. It was chosen by that alone.
        likelihood: also the likelihood judge, by the steered model itself.
    """

    models: tuple[str, ...] = ("smollm2-135m-instruct", "gemma-3-270m")
    corpora: tuple[str, ...] = ("sentiment", "emotion", "shakespeare", "formality")
    n_sentences: int | None = None
    steered: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("sentiment", ("positive", "negative")),
        ("emotion", ("anger", "joy", "sadness")),
    )
    variants: tuple[Variant, ...] = ("activation", "generated", "trained")
    coefficients: tuple[float, ...] = (0.1, 0.2)
    joint: bool = True
    n_questions: int = 24
    n_selection: int = 8
    n_generated: int = 20
    n_trained: int = 8
    training: StyleTraining = StyleTraining(1.0, 400, 5.0, max_characters=None)
    n_random: int = 100
    max_new_tokens: int = 40
    likelihood: bool = True
    n_null: int = 2000
    dtype: str = "float32"
    seed: int = 0


PRESETS = {
    "paper": Config(),
    "quick": Config(
        steered=(("sentiment", ("positive", "negative")), ("emotion", ("joy", "sadness"))),
        joint=False,
        n_questions=16,
        n_selection=6,
        n_generated=10,
        n_trained=4,
        training=StyleTraining(1.0, 300, 5.0, max_characters=None),
        max_new_tokens=32,
        likelihood=False,
        n_null=500,
    ),
    "mini": Config(
        models=("smollm2-135m-instruct",),
        corpora=("sentiment",),
        n_sentences=12,
        steered=(("sentiment", ("positive",)),),
        coefficients=(0.2,),
        joint=False,
        n_questions=3,
        n_selection=3,
        n_generated=3,
        n_trained=2,
        training=StyleTraining(0.3, 3, 500.0, max_characters=None),
        n_random=40,
        max_new_tokens=12,
        likelihood=False,
        n_null=100,
    ),
}


def probes(model: HookedModelBase, config: Config) -> pd.DataFrame:
    """The probe of every corpus on one model."""
    parts = []
    for name in config.corpora:
        corpus = load_styles(name)
        corpus = corpus if config.n_sentences is None else corpus.take(config.n_sentences, seed=config.seed)
        sides = [extract_style_activations(model, side) for side in corpus.split(seed=config.seed)]
        table = style_probe(*sides, n_null=config.n_null, seed=config.seed)
        parts.append(table.assign(model=model.name, corpus=name))
    return pd.concat(parts, ignore_index=True)


def steering(model: HookedModelBase, config: Config, folder: Path) -> tuple[pd.DataFrame, dict[str, object]]:
    """The steering table of every steered corpus, and the provenance of each."""
    judges, coherence = style_judges(model, likelihood=config.likelihood)
    parts, said = [], {}
    for name, styles in config.steered:
        run = style_run(config, model.n_layers, styles)
        made = run_styles(model, load_styles(name), run, judges=judges, coherence=coherence, out=folder / "runs" / name)
        parts.append(made.steering)
        said[name] = made.provenance
    table = pd.concat(parts, ignore_index=True)
    claims = ["corpus", "style", "prompts", "method"]
    return steering_q(table, claims, (table["declared"] == PRIMARY).to_numpy()), said


def style_run(config: Config, n_layers: int, styles: tuple[str, ...]) -> StyleRun:
    """What is done with one steered corpus."""
    layers = published_layers(n_layers)
    placements = ((layers[0],), layers) if config.joint else ((layers[0],),)
    arms = StyleSteering(
        placements,
        config.coefficients,
        n_random=config.n_random,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
    )
    return StyleRun(
        arms,
        styles=styles,
        variants=config.variants,
        published_reading=True,
        n_sentences=config.n_sentences,
        n_questions=config.n_questions,
        n_selection=config.n_selection,
        n_generated=config.n_generated,
        n_trained=config.n_trained,
        training=replace(config.training, seed=config.seed),
        n_null=config.n_null,
        seed=config.seed,
    )


def emit(folder: Path, probe: pd.DataFrame, steered: pd.DataFrame, provenance: Mapping[str, Any]) -> pd.DataFrame:
    """Effects and claims of all models, kept in the folder; the effects are returned.

    Judges were not tested on these sentences, so what they can tell is missing.
    """
    seed, found = provenance["config"]["seed"], []
    for name, model in provenance["models"].items():
        source = Source.of(STUDY, [provenance["config"], provenance["corpora"], name], model, seed)
        told, moved = (table[table["model"] == name] for table in (probe, steered))
        found.append((source, *style_effects(told, moved, pd.DataFrame(), n_layers=model["n_layers"])))
    write_runs(folder, STUDY, found)
    return load_effects(folder)


def draw(effects: pd.DataFrame, layers: Sequence[int], folder: Path) -> None:
    """Figures from the effects alone: probes a corpus and model, effects a corpus, judge and coefficient."""
    with paper_style():
        drawn = draw_styles(effects, layers=layers)
        for strength in sorted(set(effects["strength"].dropna())):
            drawn += draw_style_steering(effects, strength=float(strength))
    for each in drawn:
        save_figure(each.figure, each.frame, folder / "figures", each.name)


def main() -> None:
    """Probe and steer, and write tables and figures under `analyses/results/style_vectors/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/style_vectors"))
    parser.add_argument("--work", type=Path, default=Path("results/styles"), help="where answers and vectors are kept")
    parser.add_argument("--device", help="cuda, say; default: what there is")
    chosen = parser.parse_args()
    config, work = PRESETS[chosen.preset], chosen.work / chosen.preset
    models = {name: load_model(name, dtype=config.dtype, device=chosen.device) for name in config.models}  # pyright: ignore
    probe = pd.concat([probes(model, config) for model in models.values()], ignore_index=True)
    probe = probe_q(probe, ["model", "corpus", "style"])
    first = models[config.models[0]]
    steered, said = steering(first, config, work)
    write_tables(chosen.out / "tables", {"style_probe": probe, "style_steering": steered}, digits=6)
    provenance = {
        "config": asdict(config),
        "corpora": {name: load_styles(name).data_hash for name in config.corpora},
        "models": {name: model.provenance.to_dict() for name, model in models.items()},
        "runs": said,
        "versions": library_versions(),
    }
    write_json(chosen.out / "provenance.json", provenance)
    draw(emit(chosen.out, probe, steered, provenance), published_layers(first.n_layers), chosen.out)
    columns = ["model", "corpus", "style", "layer", "auc", "low", "high", "p_max", "q"]
    blocks = probe[(probe["readout"] == PROBE) & (probe["stream"] == "resid_post")]
    top = blocks.loc[blocks.groupby(["model", "corpus", "style"], sort=False)["auc"].idxmax(), columns]
    print(top.round(3).to_string(index=False))  # noqa: T201
    shown = steered[steered["chosen"]]
    columns = ["corpus", "style", "prompts", "method", "layers", "coefficient", "judge", "effect", "effect_low"]
    print(shown[[*columns, "effect_high", "q", "q_random", "coherent_share"]].round(3).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
