"""An adapter trained on some texts and measured on others, beside persona vectors of the model without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.data.trait_texts import TraitTexts
from persona_interp.data.traits import load_trait
from persona_interp.data.writing_prompts import JUDGED_AS
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.effects import Effect
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.hooked import HookedModelBase
from persona_interp.rollouts.generate import generate_rollouts
from persona_interp.statistics import correlation_interval
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.psychadapter.run import AdapterMeasures, measure_psychadapter
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.psychadapter.train import train_psychadapter
from persona_interp.studies.psychadapter.training_run import ADAPTER, TrainedPsychAdapter
from persona_interp.tables import rows_of

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
OWN = {"sentiment": "optimistic"}
"""The persona vector that a trait's induced direction is held against, where it has another name."""
HELD_OUT = 1 / 6
"""Share of the texts that an adapter is not trained on."""
AGREEMENT = "score_agreement"


@dataclass(frozen=True)
class AdapterStudy:
    """Sizes.

    Args:
        n_train: texts of each adapter, a fifth of as many held out on top.
        settings: the initial map is a tenth of torch's own: at full size, as published, it costs this model 1.8 nats
            a token before training, which some hundred texts do not make up for; at a tenth it costs 0.3.
        n_agreement: texts on which the judge of the scores is compared with the likelihood judge.
        likelihood: whether that judge rates generated texts too.
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


def train_and_measure(
    model: HookedModelBase,
    data: TraitTexts,
    references: Mapping[str, Direction],
    study: AdapterStudy,
    *,
    folder: Path,
) -> TrainedPsychAdapter:
    """One adapter, trained on all texts but those held out in `folder`/run, and measured in `folder`/measured.

    Args:
        references: persona vectors of the model without the adapter, by name.
    """
    train, held_out = data.split(held_out=HELD_OUT, seed=study.seed)
    settings = replace(study.settings, seed=study.seed)
    trained = train_psychadapter(model, train, out=folder / "run", settings=settings, device=study.device)
    measure_psychadapter(
        model,
        trained.adapter,
        held_out,
        judges=text_judges(model, study),
        out=folder / "measured",
        measures=replace(study.measures, seed=study.seed),
        references=references,
        own={trait: OWN.get(trait, trait) for trait in data.traits},
        path=folder / "run" / ADAPTER,
    )
    return trained


def text_judges(model: HookedModelBase, study: AdapterStudy) -> list[Judge]:
    """The judges of generated texts: the one that scored the training texts, and others that did not."""
    more: list[Judge] = [LikelihoodJudge(model, n_pairs=study.judge_pairs)] if study.likelihood else []
    return [EmbeddingJudge(), LexicalJudge(), *more]


def base_vectors(
    model: HookedModelBase, names: Sequence[str], study: AdapterStudy, *, folder: Path
) -> dict[str, Direction]:
    """Response-mean persona vectors of the base model, from extraction questions."""
    return {
        name: persona_vector(
            generate_rollouts(
                model,
                load_trait(name),
                n_instructions=study.n_instructions,
                max_new_tokens=study.extraction_tokens,
                pool=("response_mean",),
                seed=study.seed,
                folder=folder / name,
            ),
            filter="none",
        )
        for name in names
    }


def score_agreement(model: HookedModelBase, data: TraitTexts, study: AdapterStudy, *, folder: Path) -> pd.DataFrame:
    """Rank correlation of the texts' scores with the likelihood judge's, trait by trait: how far to trust them.

    Args:
        folder: where it is kept, with what it was made from.

    Raises:
        ConfigError: the folder holds that of other texts, judges or sizes.
    """
    other = LikelihoodJudge(model, n_pairs=study.judge_pairs)
    identity = {
        "model": of_model(model),
        "data": data.data_hash,
        "traits": {name: load_trait(name).data_hash for name in data.traits},
        "judges": of_judges([other]),
        "n": study.n_agreement,
        "seed": study.seed,
        **of_package(METHOD_VERSION),
    }

    def made() -> pd.DataFrame:
        some, rows = data.take(study.n_agreement, seed=study.seed), []
        for k, trait in enumerate(data.traits):
            rated = [score.value for score in other.rate(load_trait(trait), [JUDGED_AS] * len(some), some.texts)]
            found = correlation_interval(some.scores[:, k], np.array(rated), np.array(some.ids), kind="spearman")
            rows.append({"trait": trait, "judge": data.source, "other_judge": other.name, **found.row})
        return pd.DataFrame(rows)

    home = RunFolder.claim(folder, AGREEMENT, identity, keeps=(f"cells/{AGREEMENT}/*",))
    return home.cell(AGREEMENT, None, made)


def agreement_effects(agreement: pd.DataFrame) -> list[Effect]:
    """The table of `score_agreement` as effects."""
    return [
        Effect(
            metric="rank correlation of scores with another judge's",
            role="control",
            trait=row["trait"],
            condition="texts that an adapter is trained on",
            data=row["judge"],
            reference="no correlation",
            fixed="both judges",
            n=row["n"],
            cluster="text",
            n_cluster=row["n"],
            judge=row["other_judge"],
        ).measured(row)
        for row in rows_of(agreement)
    ]
