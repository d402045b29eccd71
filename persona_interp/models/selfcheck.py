"""Comparing a backend's reads with transformers' own hidden states before the model is handed out."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from persona_interp.errors import ModelError
from persona_interp.models.blocks import find_blocks
from persona_interp.models.offload import input_device
from persona_interp.models.parity import check_rows
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import token_batch
from persona_interp.types import Hookpoint, TokenBatch

_TEXTS = ("The residual stream carries what every block adds.", "Short one.")
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
_COARSE = 0.05


def check_batch(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None = None) -> TokenBatch:
    """A batch of two short texts of different length, so that one row is padded on the left.

    Raises:
        ModelError: the tokenizer gives no tokens, or some that the model has no embeddings of.
    """
    ids: Any = tokenizer(list(_TEXTS), add_special_tokens=False)["input_ids"]
    pad: Any = tokenizer.pad_token_id or 0
    if not all(ids):
        raise ModelError("the tokenizer finds no tokens in plain English.", "Give the model's own tokenizer.")
    largest = max(token for row in (*ids, [pad]) for token in row)
    rows = None if model is None else getattr(model.get_input_embeddings(), "num_embeddings", None)
    if rows is not None and largest >= rows:
        raise ModelError(
            f"the tokenizer does not belong to this model: it gives token {largest} of {rows} that the model has.",
            "Give the model's own tokenizer; where tokens were added, resize the model's embeddings and save both.",
        )
    return token_batch(ids, pad_id=pad)


def reference_states(model: PreTrainedModel, batch: TokenBatch) -> Float[Tensor, "state batch pos d_model"]:
    """The residual stream by transformers alone: the embeddings, then the output of every block.

    These are its `hidden_states`, but for the last of them, which is after the final norm: the last block's own output
    takes its place.

    Raises:
        ModelError: blocks that give something else.
    """
    batch, last = batch.to(input_device(model)), []
    watched = find_blocks(model)[1][-1].register_forward_hook(lambda *passed: last.append(passed[-1]))
    with watched, torch.inference_mode():
        states = model(
            input_ids=batch.ids,
            attention_mask=batch.mask.long(),
            position_ids=batch.position_ids,
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
    output = last[0][0] if isinstance(last[0], tuple) else last[0]
    if not isinstance(output, Tensor) or output.shape != states[0].shape:
        raise ModelError(
            f"the blocks of a {type(model).__name__} give no residual stream of batch, position and width.",
            f"Expected a tensor of shape {tuple(states[0].shape)} from the last block.",
        )
    return torch.stack([state.cpu() for state in (*states[:-1], output)])


def check_reads(model: HookedModel, batch: TokenBatch, states: Float[Tensor, "state batch pos d_model"]) -> None:
    """Refuse a model whose hooks disagree with transformers.

    The output of block i must be state i + 1 and its input state i: `hidden_states` of transformers, the last block's
    output among them before the final norm. Padding is not compared.

    Raises:
        ModelError: a layer differs by more than rounding, or a row from what it is alone.
    """
    if len(states) != model.n_layers + 1:
        raise ModelError(
            f"transformers returned {len(states)} hidden states for {model.name}, which has {model.n_layers} layers.",
            "Expected one more than layers; this architecture needs its own handling.",
        )
    reads = [Hookpoint(i, "resid_post") for i in range(model.n_layers)]
    reads += [Hookpoint(i, "resid_pre") for i in range(model.n_layers)]
    try:
        done = model.run(batch, read=reads)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise ModelError(
            f"{model.backend} cannot run {model.name}: {(str(error).splitlines() or [type(error).__name__])[0][:200]}",
            "transformers itself could. Use the other backend.",
        ) from error
    for hookpoint in reads:
        index = hookpoint.layer + (hookpoint.stream == "resid_post")
        place = f"hidden_states[{index}]" + (" before the final norm" if index == model.n_layers else "")
        found = done.residuals[hookpoint]
        expected, got = states[index][batch.mask].float(), found.cpu()[batch.mask].float()
        if not torch.isfinite(expected).all():
            raise not_finite(model.name, f"{place} of transformers", found.dtype)
        error, size = (got - expected).norm(), expected.norm()
        if not error <= _TOLERANCE.get(found.dtype, _COARSE) * size:
            raise ModelError(
                f"{model.backend} reads {hookpoint} of {model.name} differently from transformers.",
                f"It should equal {place}; the relative difference is {float(error / size):.1e}.",
                "Every vector from this model would be wrong. Use the other backend and report the architecture.",
            )
    assert done.logits is not None, "a pass over the whole model ends in logits"
    logits = done.logits[batch.mask.to(done.logits.device)]
    if bool((logits.isnan() | logits.isposinf()).any()):
        raise not_finite(model.name, "logits", logits.dtype)
    check_rows(model, batch, done.residuals[Hookpoint(model.n_layers - 1)])


def not_finite(name: str, what: str, dtype: torch.dtype) -> ModelError:
    """The error of a model that computes numbers without end, or none."""
    kind = str(dtype).removeprefix("torch.")
    says = f"{name} computes no finite numbers in {kind}: {what} hold NaN or infinity."
    if dtype == torch.float16:
        return ModelError(says, "float16 ends at 65504: it overflows. Load it in bfloat16 or float32.")
    return ModelError(says, "Its weights are damaged, or its training diverged.")
