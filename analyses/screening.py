"""Can projections find planted samples in training data, and what do they add to a judge that only reads the text?

Planted samples (answers of level I or II of a trait) among clean ones: within one source (the model's plain answers to
the same questions), and among mixed sources (plain answers to other questions, arithmetic and advice answered well,
every question once). Scores of a sample: its raw projection on the trait's persona vector, the projection difference
with the base model's own answer, its proxy without generation, text-only judges, and the projection difference with a
text judge (by ranks without labels, and by a cross-fitted logistic regression with them). AUC, average precision and
precision at k with intervals, paired differences of AUC, and the hits and false alarms of a threshold set on other
clean samples.
"""

from dataclasses import dataclass
from pathlib import Path

from finetuning_options import PAPER, chosen_config
from kept_results import draw_saved, print_sentences
from saved_config import saved_config

from persona_interp.io import write_json
from persona_interp.studies.finetuning.cells import own_answers
from persona_interp.studies.finetuning.config import FLAWED, Setup
from persona_interp.studies.finetuning.prepared import prepare
from persona_interp.studies.screening.effects import STUDY
from persona_interp.studies.screening.figures import draw_planted
from persona_interp.studies.screening.planted import CHOOSER, PlantedConfig, PlantedData, planted_samples
from persona_interp.studies.screening.planted_effects import write_planted_effects
from persona_interp.tables import read_table, write_table


@dataclass(frozen=True)
class Config(PlantedConfig):
    """The mixtures, and what they are made from."""

    setup: Setup = Setup()


PRESETS = {"quick": Config(), "paper": Config(setup=PAPER, k=20)}


def emit(folder: Path) -> None:
    """Effects, claims and figures of the samples that are saved in a folder."""
    config = saved_config(folder, PRESETS["quick"])
    write_planted_effects(folder, config, layer=config.setup.named_layer)
    samples = read_table(folder / "samples.csv")
    draw_saved(folder, STUDY, lambda effects: draw_planted(effects, samples, percentile=config.percentile))


def main() -> None:
    """Measure and write under `analyses/results/screening/`."""
    config, work, out = chosen_config(__doc__, PRESETS, "screening", quick="12 minutes", paper="40 minutes")
    prepared = prepare(config.setup, work)
    traits = config.setup.traits
    data = PlantedData(
        plain={trait: prepared.data(trait, "normal") for trait in traits},
        planted={trait: {level: prepared.data(trait, level) for level in config.levels} for trait in traits},
        others={name: prepared.data(name, "normal") for name in FLAWED},
        own=own_answers(prepared),
    )
    embedding, likelihood, *_ = prepared.judges
    samples = planted_samples(
        prepared.model,
        prepared.directions,
        data,
        traits=prepared.traits,
        likelihood=likelihood,
        embedding=embedding,
        layer=config.setup.named_layer,
        config=config,
    )
    write_table(out / "samples.csv", samples)
    notes = {CHOOSER: "chose the planted answers among candidates, so its own numbers are optimistic"}
    write_json(out / "provenance.json", prepared.provenance(config, notes))
    emit(out)
    print_sentences(out, STUDY)


if __name__ == "__main__":
    main()
