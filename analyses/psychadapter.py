"""What virtual tokens from trait scores do to SmolLM2, and whether their shift is a persona vector.

Two adapters without LoRA. One of sentiment, the mean rating of short texts by twenty people or more (given by
`--ratings`; left out, and said so, where that is absent). One of the Big Five, on texts that the model itself writes
under personality prompts, with scores estimated by the embedding judge. Of each: loss on held-out texts under the right
trait vectors against shuffled ones, against the mean author and against no adapter; expression over z from -3 to 3 with
the off-target table; parameters and time; the residual shift between low and high z, layer by layer: its size, how far
it depends on the text, its rank over z, and its cosine with the persona vector of the same trait against random
directions and against the other traits' vectors. Everything is kept: the same command goes on where it stopped.

The estimated scores come from the embedding judge, so its reading of the generated texts is not independent of the
training; the lexical judge (of traits with a valence) and, in `paper`, the likelihood judge took no part in it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from persona_interp.data.trait_texts import BIG_FIVE, read_vader_ratings
from persona_interp.effects import Effect, Source, effects_table, saved_claims, saved_effects, write_effects
from persona_interp.figures.style import paper_style, save_figure
from persona_interp.io import write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.models.load import load_model
from persona_interp.studies.psychadapter.effects import STUDY
from persona_interp.studies.psychadapter.estimated_scores import generate_trait_texts
from persona_interp.studies.psychadapter.figures.drawing import draw_adapter
from persona_interp.studies.psychadapter.run import AdapterMeasures
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.trained import (
    OWN,
    AdapterStudy,
    agreement_effects,
    base_vectors,
    score_agreement,
    train_and_measure,
)
from persona_interp.tables import write_table

PRESETS = {
    "tiny": AdapterStudy(
        n_train=32,
        n_agreement=12,
        n_instructions=1,
        extraction_tokens=8,
        settings=PsychAdapterSettings(n_epochs=1, max_tokens=24, init_scale=0.1, holdout=0.0),
        measures=AdapterMeasures(
            n_texts=8, n_shuffles=2, n_openings=3, max_new_tokens=8, n_induced=6, n_cost_repeats=2
        ),
    ),
    "quick": AdapterStudy(),
    "paper": AdapterStudy(
        n_train=4000,
        n_agreement=400,
        n_instructions=5,
        extraction_tokens=64,
        settings=PsychAdapterSettings(n_epochs=3, max_tokens=64, init_scale=0.1, holdout=0.0),
        measures=AdapterMeasures(
            n_texts=600, n_shuffles=10, by_trait=True, n_openings=32, max_new_tokens=64, n_induced=128
        ),
        likelihood=True,
    ),
}


def run(config: AdapterStudy, ratings: Path | None, work: Path, out: Path) -> list[str]:
    """Both adapters; returns what was left out, in words."""
    model = load_model(config.model, dtype="float32", device=config.device)
    references = base_vectors(model, [*BIG_FIVE, "optimistic"], config, folder=work / "rollouts")
    n_texts, left_out = round(config.n_train * 6 / 5), []
    data = generate_trait_texts(
        model, n_texts=n_texts, judges=[EmbeddingJudge()], seed=config.seed, folder=work / "estimated"
    )
    adapters = {"big_five": data}
    if ratings is None or not ratings.exists():
        left_out.append(
            "sentiment by human raters was left out: give --ratings, the source distribution of vaderSentiment 3.3.2"
        )
    else:
        rated = read_vader_ratings(ratings, parts=config.rated_parts)
        adapters["sentiment"] = rated.take(n_texts, seed=config.seed + 1)
    for name, texts in adapters.items():
        trained = train_and_measure(model, texts, references, config, folder=work / name)
        write_table(out / name / "tables" / "psychadapter_losses.csv", trained.losses)
        draw(work / name / "measured", trained.losses, out / name)
    agreed = agreement_effects(score_agreement(model, data, config, folder=work / "big_five"))
    source = Source.of(STUDY, [data.data_hash, asdict(config)], model.provenance.to_dict(), config.seed)
    collect([work / name / "measured" for name in adapters], source, agreed, out)
    notes = {"left out": left_out, "judge of the scores": data.source, "own vector": OWN}
    write_json(out / "provenance.json", {"config": asdict(config), "model": model.provenance.to_dict(), "notes": notes})
    return left_out


def draw(measured: Path, losses: pd.DataFrame, out: Path) -> None:
    """The figures of one adapter, from its effects."""
    effects = saved_effects(measured, STUDY)
    assert effects is not None, "a measured adapter has effects"
    with paper_style():
        for made in draw_adapter(effects, losses=losses):
            save_figure(made.figure, made.frame, out, made.name)


def collect(measured: Sequence[Path], source: Source, agreed: Sequence[Effect], out: Path) -> None:
    """Effects and claims of all adapters in one folder."""
    effects = [saved_effects(folder, STUDY) for folder in measured]
    claims = [saved_claims(folder, STUDY) for folder in measured]
    write_effects(out, STUDY, pd.concat([*effects, effects_table(source, agreed)]), pd.concat(claims))


def main() -> None:
    """Measure and write under `analyses/results/psychadapter/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    times = "on 2 cores quick takes about 20 minutes, paper about 5 hours (estimated); tiny only shows that it runs"
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick", help=times)
    parser.add_argument("--ratings", type=Path, help="the vaderSentiment source distribution, or a folder of it")
    parser.add_argument("--work", type=Path, default=Path("results/psychadapter"), help="where runs are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/psychadapter"))
    parser.add_argument("--device", help="cuda, say; default: what there is")
    chosen = parser.parse_args()
    config = replace(PRESETS[chosen.preset], device=chosen.device)
    for line in run(config, chosen.ratings, chosen.work / chosen.preset, chosen.out):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
