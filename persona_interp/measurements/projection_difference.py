"""`projection_difference`: how far a data set's answers lie from a model's own answers along persona directions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Some
from persona_interp.data.conversations import Conversation
from persona_interp.directions.direction import Direction
from persona_interp.errors import AlignmentError
from persona_interp.measurements.sample_projections import check_fits, project_samples
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import render_chat
from persona_interp.rollouts.generate import answer
from persona_interp.statistics import bootstrap_mean
from persona_interp.statistics.levels import CONFIDENCE
from persona_interp.types import Turn

METRICS = ("projection", "projection_difference", "prompt_difference")
"""The raw projection of the answer, ΔP, and its proxy without the model's own answer."""


@dataclass(frozen=True, eq=False)
class ProjectionDifference:
    """Projections of samples on directions, next to those of the model's own answers to the same prompts.

    In residual units of each layer; larger means more of the direction's positive pole.

    Args:
        projection: response mean of the data's answer, a(x, y).v/|v|.
        base_projection: response mean of the model's own answer, a(x, y').v/|v|; NaN where it is empty.
        prompt_projection: at the last prompt token.
        prompts: which samples share a prompt, numbered from 0.
        base_answers: y'.
    """

    directions: tuple[Direction, ...]
    layers: tuple[int, ...]
    names: tuple[str, ...]
    prompts: Int[np.ndarray, " sample"]
    n_answer_tokens: Int[np.ndarray, " sample"]
    projection: Float[np.ndarray, "sample direction layer"]
    base_projection: Float[np.ndarray, "sample direction layer"]
    prompt_projection: Float[np.ndarray, "sample direction layer"]
    base_answers: tuple[str, ...]

    @property
    def difference(self) -> Float[np.ndarray, "sample direction layer"]:
        """ΔP of each sample: its projection minus that of the model's own answer; NaN where either is empty."""
        return self.projection - self.base_projection

    @property
    def prompt_difference(self) -> Float[np.ndarray, "sample direction layer"]:
        """The proxy of ΔP that needs no generation: projection of the answer minus that of the last prompt token."""
        return self.projection - self.prompt_projection

    @property
    def n_empty(self) -> int:
        """Samples to which the model's own answer is empty."""
        return sum(not text.strip() for text in self.base_answers)

    def metric(self, name: str) -> Float[np.ndarray, "sample direction layer"]:
        """The values of one of `METRICS`."""
        return (self.projection, self.difference, self.prompt_difference)[METRICS.index(name)]

    def frame(self) -> pd.DataFrame:
        """One row a sample, direction and layer, with a column a metric."""
        n, n_directions, n_layers = self.projection.shape
        sample, direction, layer = (axis.ravel() for axis in np.indices((n, n_directions, n_layers)))
        traits, methods = (np.array([getattr(d, kind) for d in self.directions]) for kind in ("trait", "method"))
        columns: dict[str, Shaped[np.ndarray, " row"]] = {
            "sample": sample,
            "name": np.array(self.names, dtype=object)[sample],
            "trait": traits[direction],
            "method": methods[direction],
            "layer": np.array(self.layers)[layer],
            "n_answer_tokens": self.n_answer_tokens[sample],
        }
        return pd.DataFrame(columns | {name: self.metric(name).ravel() for name in METRICS})

    def summary(self, *, n_resamples: int = 2000, level: float = CONFIDENCE, seed: int = 0) -> pd.DataFrame:
        """One row a direction, layer and metric: mean over samples, its bootstrap interval, n and samples without it.

        Samples are resampled, those of one prompt together; they share the prompt and the model's own answer to it.
        """
        rows = []
        for k, direction in enumerate(self.directions):
            for j, layer in enumerate(self.layers):
                for name in METRICS:
                    values = self.metric(name)[:, k, j].astype(float)
                    row = {"trait": direction.trait, "method": direction.method, "layer": layer, "metric": name}
                    rows.append(row | self._mean(values, n_resamples, level, seed))
        return pd.DataFrame(rows)

    def _mean(
        self, values: Float[np.ndarray, " sample"], n_resamples: int, level: float, seed: int
    ) -> dict[str, float]:
        there = np.isfinite(values)
        counts = {"n": int(there.sum()), "n_missing": int((~there).sum())}
        if not there.any():
            return {"mean": np.nan, "low": np.nan, "high": np.nan, **counts}
        found = bootstrap_mean(values[there], self.prompts[there], n_resamples=n_resamples, level=level, seed=seed)
        return {"mean": found.estimate, "low": found.low, "high": found.high, **counts}


@checked
def projection_difference(
    model: HookedModel,
    directions: Some[Direction],
    conversations: Sequence[Conversation],
    *,
    layers: Some[int],
    base_answers: Sequence[str] | None = None,
    max_new_tokens: Count = 96,
    folder: Path | None = None,
    progress: bool = True,
) -> ProjectionDifference:
    """ΔP = mean over samples of (a(x, y) - a(x, y')).v/|v|: data's answers y against the model's own y', prompts x.

    a is the mean residual over answer tokens. Larger means that the data hold more of the direction's positive pole
    than the model would say to the same prompts, so that training on them should move it that way. In residual units
    of the layer: compare samples and data sets at one layer, not layers with each other. y' is greedy, and generated
    once for each distinct prompt.

    Two cheaper variants: give a random subset of the conversations, or look at `prompt_difference`, which stands the
    last prompt token in for the model's own answer and is there even for samples whose y' is empty.

    Args:
        layers: 0-based blocks whose output is read.
        base_answers: the model's own answers, where they are known already; nothing is generated then.
        max_new_tokens: at which own answers are cut. Make it about as long as the data's answers.
        folder: where own answers are kept; the same call goes on where an interrupted one stopped.

    Raises:
        AlignmentError: as many base answers as conversations were expected.
        ConfigError: the folder holds answers to other prompts, or of another model or length.
        ContextLengthError: a sample, or its prompt with an own answer, does not fit; it is named.
        IncompatibleDirectionError: a direction belongs to another model.

    Source: Chen et al. 2025, Persona Vectors (arXiv 2507.21509), the sections on predicting shifts from training data
    before finetuning, and their appendix on cheaper estimates.
    """
    if base_answers is not None and len(base_answers) != len(conversations):
        raise AlignmentError(
            f"got {len(base_answers)} base answers and {len(conversations)} conversations.",
            "Give one each, in order.",
        )
    data = project_samples(model, conversations, directions, layers, progress=progress)
    names = tuple(conversation.name or f"sample {i}" for i, conversation in enumerate(conversations))
    texts = [render_chat(model.tokenizer, conversation.prompt) for conversation in conversations]
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    if base_answers is None:
        check_fits(model, names, data.n_prompt_tokens.tolist(), more=max_new_tokens)
        made = _own_answers(model, list(distinct), max_new_tokens, folder, progress=progress)
        base_answers = [made[text] for text in texts]
    pairs = zip(conversations, base_answers, strict=True)
    own = [replace(talk, turns=(*talk.prompt, Turn("assistant", text))) for talk, text in pairs]
    base = _projected_once(model, own, directions, layers, progress=progress)
    return ProjectionDifference(
        directions=tuple(directions),
        layers=tuple(layers),
        names=names,
        prompts=np.array([distinct[text] for text in texts]),
        n_answer_tokens=data.n_answer_tokens,
        projection=data.response,
        base_projection=base,
        prompt_projection=data.prompt_last,
        base_answers=tuple(base_answers),
    )


def _own_answers(
    model: HookedModel, prompts: Sequence[str], max_new_tokens: int, folder: Path | None, *, progress: bool
) -> dict[str, str]:
    """The greedy answer to each prompt; those of similar length are generated together."""
    ordered = sorted(prompts, key=lambda text: (len(text), text))
    made = answer(
        model,
        pd.DataFrame({"prompt": ordered}),
        sampling=Sampling(max_new_tokens, temperature=0.0),
        folder=folder,
        label="own answers",
        progress=progress,
    )
    return dict(zip(made.frame["prompt"], made.frame["answer"], strict=True))


def _projected_once(
    model: HookedModel,
    conversations: Sequence[Conversation],
    directions: Sequence[Direction],
    layers: Sequence[int],
    *,
    progress: bool,
) -> Float[np.ndarray, "sample direction layer"]:
    """Response projections of conversations, equal ones computed once."""
    distinct = {talk.turns: talk for talk in reversed(conversations)}
    found = project_samples(model, list(distinct.values()), directions, layers, progress=progress)
    index = {turns: i for i, turns in enumerate(distinct)}
    return found.response[[index[talk.turns] for talk in conversations]]
