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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from kept_results import refuse_other_inputs

from persona_interp.data.trait_texts import BIG_FIVE, TraitTexts, read_vader_ratings
from persona_interp.data.traits import load_trait
from persona_interp.data.writing_prompts import JUDGED_AS
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.figures.style import paper_style, save_figure
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.io import atomic_write_bytes, write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.rollouts.generate import generate_rollouts
from persona_interp.statistics import correlation_interval
from persona_interp.studies.psychadapter.estimated_scores import generate_trait_texts
from persona_interp.studies.psychadapter.figures.drawing import draw_adapter
from persona_interp.studies.psychadapter.run import AdapterMeasures, measure_psychadapter
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.train import train_psychadapter
from persona_interp.studies.psychadapter.training_run import ADAPTER, TrainedPsychAdapter
from persona_interp.tables import kept_table, read_table, write_table

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
OWN = {"sentiment": "optimistic"}
"""The persona vector that a trait's induced direction is held against, where it has another name."""


@dataclass(frozen=True)
class Config:
    """Sizes.

    Args:
        n_train: texts of each adapter, a fifth of as many held out on top.
        settings: the initial map is a tenth of torch's own: at full size, as published, it costs this model 1.8 nats
            a token before training, which some hundred texts do not make up for; at a tenth it costs 0.3.
        n_agreement: texts on which the judge of the scores is compared with the likelihood judge.
    """

    model: str = "smollm2-135m-instruct"
    n_train: int = 600
    n_agreement: int = 80
    judge_pairs: int = 1
    n_instructions: int = 2
    extraction_tokens: int = 32
    rated_parts: tuple[str, ...] = ("film", "product", "tweet")
    settings: PsychAdapterSettings = PsychAdapterSettings(
        learning_rate=1e-2, n_epochs=2, max_tokens=48, init_scale=0.1, holdout=0.0
    )
    measures: AdapterMeasures = AdapterMeasures(
        n_texts=120, n_shuffles=3, n_openings=10, max_new_tokens=32, n_induced=32, n_cost_repeats=5
    )
    likelihood: bool = False
    device: str | None = None
    seed: int = 0


PRESETS = {
    "tiny": Config(
        n_train=32,
        n_agreement=12,
        n_instructions=1,
        extraction_tokens=8,
        settings=PsychAdapterSettings(n_epochs=1, max_tokens=24, init_scale=0.1, holdout=0.0),
        measures=AdapterMeasures(
            n_texts=8, n_shuffles=2, n_openings=3, max_new_tokens=8, n_induced=6, n_cost_repeats=2
        ),
    ),
    "quick": Config(),
    "paper": Config(
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


def run_adapter(
    config: Config,
    model: HookedModelBase,
    data: TraitTexts,
    references: Mapping[str, Direction],
    folder: Path,
    out: Path,
) -> TrainedPsychAdapter:
    """One adapter, trained on all texts but those held out, and everything measured of it."""
    train, held_out = data.split(held_out=1 / 6, seed=config.seed)
    trained = train_psychadapter(
        model,
        train,
        out=folder / "run",
        settings=replace(config.settings, seed=config.seed),
        device=config.device,
    )
    measure_psychadapter(
        model,
        trained.adapter,
        held_out,
        judges=judges(config, model),
        out=folder / "measured",
        measures=replace(config.measures, seed=config.seed),
        references=references,
        own={trait: OWN.get(trait, trait) for trait in data.traits},
        path=folder / "run" / ADAPTER,
    )
    for path in sorted((folder / "measured").glob("tables/*.csv")):
        atomic_write_bytes(out / "tables" / path.name, path.read_bytes())
    provenance = "provenance_psychadapter.json"
    atomic_write_bytes(out / provenance, (folder / "measured" / provenance).read_bytes())
    write_table(out / "tables" / "psychadapter_losses.csv", trained.losses)
    draw(out)
    return trained


def judges(config: Config, model: HookedModelBase) -> list[Judge]:
    """The judges of generated texts: the one that scored the training texts, and others that did not."""
    more: list[Judge] = [LikelihoodJudge(model, n_pairs=config.judge_pairs)] if config.likelihood else []
    return [EmbeddingJudge(), LexicalJudge(), *more]


def persona_vectors(config: Config, model: HookedModelBase, names: Sequence[str], folder: Path) -> dict[str, Direction]:
    """Response-mean persona vectors of the base model, from extraction questions."""
    return {
        name: persona_vector(
            generate_rollouts(
                model,
                load_trait(name),
                n_instructions=config.n_instructions,
                max_new_tokens=config.extraction_tokens,
                pool=("response_mean",),
                seed=config.seed,
                folder=folder / name,
            ),
            filter="none",
        )
        for name in names
    }


def agreement(config: Config, model: HookedModelBase, data: TraitTexts) -> pd.DataFrame:
    """Rank correlation of the estimated scores with another judge's, trait by trait: how far to trust them."""
    some = data.take(config.n_agreement, seed=config.seed)
    other, rows = LikelihoodJudge(model, n_pairs=config.judge_pairs), []
    for k, trait in enumerate(data.traits):
        rated = [score.value for score in other.rate(load_trait(trait), [JUDGED_AS] * len(some), some.texts)]
        found = correlation_interval(some.scores[:, k], np.array(rated), np.array(some.ids), kind="spearman")
        numbers = {"estimate": found.estimate, "low": found.low, "high": found.high, "n": found.n}
        rows.append({"trait": trait, "judge": data.source, "other_judge": other.name, "metric": "spearman", **numbers})
    return pd.DataFrame(rows)


def agreement_identity(config: Config, model: HookedModelBase, data: TraitTexts) -> dict[str, object]:
    """What the agreement of the scores depends on."""
    return {
        "model": of_model(model),
        "data": data.data_hash,
        "traits": {name: load_trait(name).data_hash for name in data.traits},
        "judges": of_judges([LikelihoodJudge(model, n_pairs=config.judge_pairs)]),
        "n": config.n_agreement,
        "seed": config.seed,
        **of_package(METHOD_VERSION),
    }


def draw(out: Path) -> None:
    """The figures of one adapter, from its tables."""
    tables = {path.stem.removeprefix("psychadapter_"): read_table(path) for path in (out / "tables").glob("*.csv")}
    with paper_style():
        for made in draw_adapter(
            tables["nll"],
            losses=tables["losses"],
            expression=tables["expression"],
            effects=tables["offtarget"],
            induced=tables["induced"],
        ):
            save_figure(made.figure, made.frame, out, made.name)


def run(config: Config, ratings: Path | None, work: Path, out: Path) -> list[str]:
    """Both adapters; returns what was left out, in words."""
    model = load_model(config.model, dtype="float32", device=config.device)
    references = persona_vectors(config, model, [*BIG_FIVE, "optimistic"], work / "rollouts")
    n_texts, left_out = round(config.n_train * 6 / 5), []
    data = generate_trait_texts(
        model, n_texts=n_texts, judges=[EmbeddingJudge()], seed=config.seed, folder=work / "estimated"
    )
    run_adapter(config, model, data, references, work / "big_five", out / "big_five")
    path = work / "big_five" / "judge_agreement.csv"
    refuse_other_inputs(path, agreement_identity(config, model, data))
    kept = kept_table(path, lambda: agreement(config, model, data))
    write_table(out / "big_five" / "tables" / path.name, kept)
    if ratings is None or not ratings.exists():
        left_out.append(
            "sentiment by human raters was left out: give --ratings, the source distribution of vaderSentiment 3.3.2"
        )
    else:
        rated = read_vader_ratings(ratings, parts=config.rated_parts).take(n_texts, seed=config.seed + 1)
        run_adapter(config, model, rated, references, work / "sentiment", out / "sentiment")
    notes = {"left out": left_out, "judge of the scores": data.source, "own vector": OWN}
    write_json(out / "provenance.json", {"config": asdict(config), "model": model.provenance.to_dict(), "notes": notes})
    return left_out


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
