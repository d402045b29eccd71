"""Style vectors from the model's own answers in a style, in place of sentences that others wrote."""

from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, Size, Some, Temperature
from persona_interp.data.styles import StyleCorpus
from persona_interp.directions.direction import Direction
from persona_interp.directions.style import Weighting, style_vector
from persona_interp.errors import EmptySelectionError
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.rollouts.generate import Rollouts, answer

METHOD = "style_vector_generated"


def style_request(question: str, description: str) -> str:
    """A question that asks for a style by the paper's words: " Write the answer in an angry manner."."""
    return f"{question} Write the answer in {description} manner."


@checked
def generate_style_rollouts(
    model: HookedModel,
    corpus: StyleCorpus,
    questions: Some[str],
    *,
    n_samples: Count = 1,
    max_new_tokens: Count = 48,
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    batch_size: Size = 128,
    folder: Path | None = None,
    progress: bool = True,
) -> Rollouts:
    """Answers to every question in every style of a corpus, pooled over the answer while they are generated.

    The style is asked for by a sentence after the question (`style_request`). Of the corpus only the names and
    descriptions of the styles are used. Answers have the columns style and pair, which is the question.

    Args:
        folder: where finished batches are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: the folder holds answers of another configuration.
    """
    rows = [
        {"side": style, "instruction": -1, "question": style_request(q, corpus.descriptions[style]), "system": None}
        for style in corpus.styles
        for q in questions
    ]
    made = answer(
        model,
        pd.DataFrame(rows),
        sampling=Sampling(max_new_tokens, temperature, n_samples=n_samples, seed=seed),
        trait=corpus.name,
        trait_hash=corpus.data_hash,
        pool=("response_mean",),
        batch_size=batch_size,
        folder=folder,
        label=f"{corpus.name}: answers in a style",
        progress=progress,
    )
    asked = [question for _ in corpus.styles for question in questions for _ in range(n_samples)]
    return made.with_columns(style=made.frame["side"].to_numpy(object), pair=np.array(asked, dtype=object))


@checked
def generated_style_vector(
    rollouts: Rollouts,
    style: str,
    *,
    against: Some[str] | None = None,
    weighting: Weighting = "sentences",
) -> Direction:
    """Mean of the response means of answers in a style minus that of answers in the others, at every block.

    Points toward the style; read and used at the output of the same block. Not filtered: an answer counts whether the
    model managed the style or not, and empty answers are left out.

    Raises:
        EmptySelectionError: every answer of a style is empty.
        ConfigError: no such style, or nothing to tell it from.
    """
    activations = rollouts.activations("response_mean")
    whole = activations.values.isfinite().flatten(1).all(1).numpy()
    lost = set(activations.samples["style"]) - set(activations.samples["style"][whole])
    if lost:
        raise EmptySelectionError(
            f"every answer in the style {sorted(lost)[0]} is empty.", "Ask more questions, or allow longer answers."
        )
    return style_vector(
        activations.select(whole), style, against=against, reading="block", weighting=weighting, method=METHOD
    )
