"""What is done with a corpus of styles, and with which prompts."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from persona_interp.arguments import checked
from persona_interp.bounds import Between0And1, Count, Seed, SomeTuple
from persona_interp.data.styles import StyleCorpus, factual_prompts, subjective_prompts
from persona_interp.data.traits import training_questions
from persona_interp.directions.style_training import StyleTraining
from persona_interp.errors import ConfigError
from persona_interp.statistics.streams import stream
from persona_interp.studies.styles.arms import StyleSteering

Variant = Literal["activation", "generated", "trained"]
"""How a style vector is made: from sentences, from the model's own answers, or by training."""

VARIANTS: tuple[Variant, ...] = get_args(Variant)


@checked
@dataclass(frozen=True)
class StyleRun:
    """What is done with a corpus.

    Args:
        styles: that are steered; default: all. The probe takes all of them.
        variants: kinds of vectors.
        published_reading: also steer with vectors read one block earlier, as the paper does.
        n_sentences: at most so many a style are used; default: all.
        held_out: share of the sentences that no vector sees: for the probe's test and the judges' exemplars.
        n_questions: evaluation prompts of each set; n_selection: prompts to choose a coefficient on.
        n_generated: questions answered in every style, for the generated variant.
        n_trained: sentences a style that are trained on, the shortest ones, for the trained variant.
    """

    steering: StyleSteering
    styles: tuple[str, ...] = ()
    variants: SomeTuple[Variant] = ("activation",)
    published_reading: bool = False
    n_sentences: Count | None = None
    held_out: Between0And1 = 0.3
    n_questions: Count = 20
    n_selection: Count = 8
    n_generated: Count = 20
    n_trained: Count = 8
    training: StyleTraining = StyleTraining()
    n_null: Count = 1000
    n_resamples: Count = 2000
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ConfigError: more prompts than there are.
        """
        limits = {"n_questions": (3, 50), "n_selection": (3, 60), "n_generated": (2, 100), "n_trained": (2, 10_000)}
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be {least} to {most}, got {getattr(self, name)}.")


@dataclass(frozen=True)
class StylePrompts:
    """Disjoint prompts: to answer in every style, to choose a coefficient on, and two sets to evaluate on."""

    generating: tuple[str, ...]
    selection: tuple[str, ...]
    evaluation: dict[str, tuple[str, ...]]


def style_prompts(run: StyleRun) -> StylePrompts:
    """Factual and subjective prompts to evaluate, and extraction questions of the package's traits for all else.

    Which ones does not depend on the seed.
    """
    evaluation = {
        "factual": factual_prompts()[: run.n_questions],
        "subjective": subjective_prompts()[: run.n_questions],
    }
    taken = {question for of_set in evaluation.values() for question in of_set}
    pool = [question for question in training_questions() if question not in taken]
    drawn = [pool[i] for i in stream(0, "choice of a setting").permutation(len(pool))]
    end = run.n_selection + run.n_generated
    return StylePrompts(tuple(drawn[run.n_selection : end]), tuple(drawn[: run.n_selection]), evaluation)


def shortest(corpus: StyleCorpus, n: int) -> StyleCorpus:
    """The n shortest sentences of each style, by characters; of a parallel corpus the same rows of all styles."""
    columns = list(corpus.sentences.values())
    shared = [sum(map(len, row)) for row in zip(*columns, strict=True)] if corpus.parallel else None
    chosen = {}
    for style, texts in corpus.sentences.items():
        lengths = [len(text) for text in texts] if shared is None else shared
        chosen[style] = tuple(texts[i] for i in np.argsort(lengths, kind="stable")[:n])
    return replace(corpus, sentences=chosen)
