"""`extract_activations`: pooled residuals of given prompts and responses, by teacher forcing."""

from collections.abc import Sequence

import pandas as pd
import torch

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count
from persona_interp.errors import AlignmentError, EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.models.reasoning import reasoning_lengths
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.reasoning import Reasoning
from persona_interp.types import NO_EDITS, Edits, Hookpoint, Pooling

METHOD_VERSION = 1


@checked
def extract_activations(
    model: HookedModel,
    prompts: Sequence[str],
    responses: Sequence[str] | Sequence[Sequence[int]],
    *,
    pooling: Pooling = "response_mean",
    hookpoints: Sequence[Hookpoint] | None = None,
    samples: pd.DataFrame | None = None,
    edits: Edits = NO_EDITS,
    reasoning: Reasoning = "skip",
    tokens_at_once: Count = 16_384,
    progress: bool = True,
) -> Activations:
    """Mean residual over the pooled positions of every sample, at every hookpoint.

    Rows are batched by length; tokens that rows share are computed once, and the pass stops at the deepest
    hookpoint. The result does not depend on the batching beyond rounding.

    Args:
        prompts: as the model sees them (chat template applied).
        responses: texts, or token ids where the very tokens matter.
        hookpoints: default: the output of every block.
        reasoning: a response is pooled after its reasoning block, if it has one, or with it ("include"). Nothing is
            left of a response that only reasons: its mean is NaN.

    Raises:
        AlignmentError: prompts and responses differ in number.
        EmptySelectionError: a row has no token of those that are pooled.
        ContextLengthError: a sample is longer than the model's context.
    """
    if len(prompts) != len(responses):
        raise AlignmentError(f"got {len(prompts)} prompts and {len(responses)} responses.", "Give one each.")
    hookpoints = all_blocks(model) if hookpoints is None else tuple(hookpoints)
    prompt_ids = encode(model.tokenizer, prompts)
    response_ids = [ids if not isinstance(ids, str) else encode(model.tokenizer, [ids])[0] for ids in responses]
    pooled, what = (response_ids, "response") if pooling == "response_mean" else (prompt_ids, "prompt")
    if empty := [i for i, ids in enumerate(pooled) if len(ids) == 0]:
        raise EmptySelectionError(
            f"the {what} of row {empty[0]} has no token to pool ({len(empty)} of {len(pooled)} rows).",
            "Leave such rows out, or pool what every row has.",
        )
    skipped = [0] * len(prompts)
    if reasoning == "skip" and pooling == "response_mean":
        skipped = reasoning_lengths(model.tokenizer, prompt_ids, response_ids)
    chunks = length_chunks(prompt_ids, response_ids, tokens_at_once)
    values = torch.empty(len(prompts), len(hookpoints), 0)
    norms = torch.empty(len(prompts), len(hookpoints))
    for chunk in track(chunks, "extract activations", total=len(chunks), show=progress):
        batch = token_batch(
            [prompt_ids[i] for i in chunk],
            [response_ids[i] for i in chunk],
            pad_id=pad_id(model.tokenizer),
            n_reasoning=[skipped[i] for i in chunk],
        )
        result = model.run(batch, read=hookpoints, pool=(pooling,), outputs="none", edits=edits)
        assert result.norms is not None, "pooled passes record norms"
        if not values.shape[-1]:
            values = torch.empty(*values.shape[:2], result.pooled[pooling].shape[-1])
        values[chunk], norms[chunk] = result.pooled[pooling].cpu(), result.norms.cpu()
    frame = pd.DataFrame({"prompt": list(prompts)}) if samples is None else samples.reset_index(drop=True)
    return Activations(
        values=values,
        hookpoints=hookpoints,
        pooling=pooling,
        samples=frame,
        provenance=model.provenance.derive(
            "extract_activations",
            METHOD_VERSION,
            pooling=pooling,
            n=len(prompts),
            **({"reasoning": reasoning} if reasoning == "include" or any(skipped) else {}),
        ),
        norms=norms,
    )


def all_blocks(model: HookedModel) -> tuple[Hookpoint, ...]:
    """The output of every block."""
    return tuple(Hookpoint(layer) for layer in range(model.n_layers))


def length_chunks(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], tokens_at_once: int
) -> list[list[int]]:
    """Row numbers in chunks of similar length and of at most so many padded tokens.

    Rows with equal prompts stay neighbours, so that a chunk can share them.
    """
    order = sorted(range(len(prompts)), key=lambda i: (_bucket(prompts[i], responses[i]), tuple(prompts[i])))
    chunks: list[list[int]] = []
    width = 0
    for i in order:
        length = len(prompts[i]) + len(responses[i])
        if chunks and max(width, length) * (len(chunks[-1]) + 1) <= tokens_at_once:
            chunks[-1].append(i)
            width = max(width, length)
        else:
            chunks.append([i])
            width = length
    return chunks


def _bucket(prompt: Sequence[int], response: Sequence[int], size: int = 64) -> int:
    return (len(prompt) + len(response)) // size
