"""Batched answers with progress and resume, pooled while they are generated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, ShareAbove0, Size, Temperature
from persona_interp.data.traits import Trait
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.lock import alone_in
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.reasoning import parted, reasoning_lengths
from persona_interp.models.tokens import encode, line_stop_ids, render_prompt, text_batch
from persona_interp.progress import track
from persona_interp.reasoning import Reasoning
from persona_interp.rollouts.parts import Part, PartStore
from persona_interp.types import NO_EDITS, POOLINGS, Edits, Generation, Hookpoint, KVPrefix, Pooling, Provenance

Questions = Literal["extract", "eval"]
METHOD_VERSION = 1
EditsOf = Callable[[pd.DataFrame], Edits]


@checked
@dataclass(frozen=True, eq=False)
class Rollouts:
    """Answers, one a row: side, question, instruction, system, sample, prompt, answer, response_ids, finished.

    Pooled activations stay in the parts they were generated in (on disk, where a folder was given) and are put
    together for one pooling when asked for.
    """

    trait: str
    frame: pd.DataFrame
    provenance: Provenance
    hookpoints: tuple[Hookpoint, ...] = ()
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """Number of answers."""
        return len(self.frame)

    @checked
    def with_columns(self, **columns: Sequence[Any] | np.ndarray) -> "Rollouts":
        """The same answers with more columns (scores, say)."""
        return replace(self, frame=self.frame.assign(**columns))

    @checked
    def activations(self, pooling: Pooling = "response_mean") -> Activations:
        """Pooled activations of every answer; NaN where it has no such token.

        Raises:
            AlignmentError: this pooling was not recorded.
        """
        if not self.parts or pooling not in self.parts[0].poolings():
            recorded = ", ".join(self.parts[0].poolings()) if self.parts else "nothing"
            raise AlignmentError(f"these rollouts hold no {pooling} activations.", f"Recorded: {recorded}.")
        loaded = [part.load(pooling) for part in self.parts]
        return Activations(
            values=torch.cat([values for values, _ in loaded]),
            hookpoints=self.hookpoints,
            pooling=pooling,
            samples=self.frame.reset_index(drop=True),
            provenance=replace(self.provenance, pooling=pooling),
            norms=torch.cat([norms for _, norms in loaded]),
        )


@checked
def generate_rollouts(
    model: HookedModel,
    trait: Trait,
    *,
    n_questions: Count | None = None,
    n_instructions: Count | None = None,
    n_samples: Count = 1,
    max_new_tokens: Count = 64,
    temperature: Temperature = 1.0,
    top_p: ShareAbove0 | None = None,
    seed: Seed = 0,
    generation_config: bool = True,
    questions: Questions = "extract",
    pool: Sequence[Pooling] = POOLINGS,
    reasoning: Reasoning = "skip",
    batch_size: Size = 128,
    folder: Path | None = None,
    progress: bool = True,
) -> Rollouts:
    """Contrastive answers to a trait's questions under its positive and negative system prompts.

    Args:
        generation_config: follow the model's own settings, such as a repetition penalty (see `Sampling`).
        questions: the trait's extraction questions, or the evaluation ones (for held-out tests).
        reasoning: responses are pooled after their reasoning block, if they have one, or with it ("include").
        batch_size: answers generated at once.
        folder: where finished batches are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: the folder holds rollouts of another configuration.
    """
    drawn = Sampling(max_new_tokens, temperature, top_p=top_p, n_samples=n_samples, seed=seed)
    requests = contrastive_requests(trait, n_questions=n_questions, n_instructions=n_instructions, questions=questions)
    return answer(
        model,
        requests,
        sampling=replace(drawn, generation_config=generation_config),
        trait=trait.name,
        trait_hash=trait.data_hash,
        pool=pool,
        reasoning=reasoning,
        batch_size=batch_size,
        folder=folder,
        label=f"{trait.name}: {questions} rollouts",
        progress=progress,
    )


def contrastive_requests(
    trait: Trait,
    *,
    n_questions: int | None = None,
    n_instructions: int | None = None,
    questions: Questions = "extract",
) -> pd.DataFrame:
    """One row for each side, instruction and question, in this order: rows of one system prompt are neighbours.

    Raises:
        ConfigError: more questions or instructions were asked for than the trait has.
    """
    texts = trait.questions if questions == "extract" else trait.eval_questions
    for name, asked, there in (
        ("questions", n_questions, len(texts)),
        ("instructions", n_instructions, len(trait.instructions)),
    ):
        if asked is not None and not 1 <= asked <= there:
            raise ConfigError(f"{name} of {trait.name} ({questions}) must be 1 to {there}, got {asked}.")
    rows = [
        {"side": side, "instruction": i, "question": question, "system": system}
        for side in ("positive", "negative")
        for i, system in enumerate(trait.system_prompts(side)[:n_instructions])
        for question in texts[:n_questions]
    ]
    return pd.DataFrame(rows)


def plain_requests(questions: Sequence[str]) -> pd.DataFrame:
    """Questions without a system prompt."""
    return pd.DataFrame({"side": "", "instruction": -1, "question": list(questions), "system": None})


@checked
@alone_in("folder")
def answer(
    model: HookedModel,
    requests: pd.DataFrame,
    *,
    sampling: Sampling,
    trait: str = "",
    trait_hash: str = "",
    edits: Edits | EditsOf = NO_EDITS,
    prefix: KVPrefix | None = None,
    edits_hash: str | None = None,
    pool: Sequence[Pooling] = (),
    reasoning: Reasoning = "skip",
    batch_size: Size = 128,
    folder: Path | None = None,
    label: str = "generate",
    progress: bool = True,
) -> Rollouts:
    """Answers to every request, `sampling.n_samples` each, in batches that are kept as they are done.

    Requests with a column `prompt` bring their prompts as the model sees them; the others are rendered from their
    question and system prompt. A reasoning block before an answer is no part of the column `answer`; where there is
    one, the table has a column `reasoning`.

    Args:
        edits: of every batch; or what gives them for the requests of a batch, one row each (edits by row).
        prefix: virtual tokens in front of every prompt.
        reasoning: responses are pooled after their reasoning block, if they have one, or with it ("include").
        edits_hash: what the edits and virtual tokens do, so that a folder of others is refused.

    Raises:
        ConfigError: the folder holds answers of another configuration, or edits are to be kept without a hash.
    """
    if folder is not None and edits_hash is None and (callable(edits) or edits or prefix is not None):
        raise ConfigError("answers under edits cannot be kept without edits_hash.", "Say what the edits do, by a hash.")
    pool = tuple(pooling for pooling in POOLINGS if pooling in pool)  # norms are of the last
    sampling = replace(sampling, stop_ids=sampling.stop_ids or line_stop_ids(model.tokenizer))
    hookpoints = tuple(Hookpoint(layer) for layer in range(model.n_layers)) if pool else ()
    provenance = model.provenance.derive(
        "rollouts", METHOD_VERSION, pooling=None, trait=trait, trait_hash=trait_hash, n_requests=len(requests)
    )
    unfollowed = {} if sampling.generation_config else {"generation_config": None}
    details = {key: value for key, value in provenance.details.items() if key not in unfollowed}
    provenance = replace(provenance, seed=sampling.seed, details=details)
    if reasoning == "include":
        provenance = replace(provenance, details={**provenance.details, "reasoning": reasoning})
    store = PartStore.open(folder, requests, sampling, provenance, pool, batch_size, edits_hash)
    n_rows = max(1, batch_size // sampling.n_samples)
    starts = range(0, len(requests), n_rows)
    for k, start in enumerate(track(starts, label, total=len(starts), show=progress)):
        if store.has(k):
            continue
        chunk = requests.iloc[start : start + n_rows]
        prompts = prompts_of(model, chunk)
        batch = text_batch(model.tokenizer, prompts)
        made = model.generate(
            batch,
            sampling=sampling,
            read=hookpoints,
            pool=pool,
            edits=edits(chunk) if callable(edits) else edits,
            prefix=prefix,
            reasoning=reasoning,
        )
        rows = chunk.assign(prompt=prompts).loc[chunk.index.repeat(sampling.n_samples)].reset_index(drop=True)
        rows = rows.assign(
            sample=[i % sampling.n_samples for i in range(len(rows))],
            **_parts(model, prompts, made, sampling.n_samples),
            response_ids=made.ids,
            finished=made.finished,
        )
        store.add(k, rows, made.pooled, made.norms)
    return Rollouts(trait=trait, frame=store.frame(), provenance=provenance, hookpoints=hookpoints, parts=store.parts())


def _parts(model: HookedModel, prompts: Sequence[str], made: Generation, n_samples: int) -> dict[str, list[str]]:
    """The column of answers, and one of what came before them where a block of reasoning did."""
    ids = [prompt for prompt in encode(model.tokenizer, prompts) for _ in range(n_samples)]
    lengths = reasoning_lengths(model.tokenizer, ids, made.ids)
    if not any(lengths):
        return {"answer": [text.strip() for text in made.texts]}
    texts = [parted(model.tokenizer, *row) for row in zip(made.ids, lengths, strict=True)]
    return {"answer": [text for _, text in texts], "reasoning": [text for text, _ in texts]}


def prompts_of(model: HookedModel, requests: pd.DataFrame) -> list[str]:
    """The prompt of every request as the model sees it."""
    if "prompt" in requests:
        return [str(prompt) for prompt in requests["prompt"]]
    return [render_prompt(model.tokenizer, row.question, system=row.system) for row in requests.itertuples()]
