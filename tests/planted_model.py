"""A small model with a known direction in its weights: `Z` in what came before writes it, and one token reads it."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.contract.tiny import D_MODEL, ENDS, make_tokenizer
from tests.small import make_small

PLANTED_LAYER, SEEN_TOKEN, RAISED_TOKEN = 1, "Z", "#"


def unit(seed: int) -> Tensor:
    vector = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm()


def token(text: str) -> int:
    return make_tokenizer().convert_tokens_to_ids(text)  # pyright: ignore


SEEN, RAISED = unit(1), unit(3)
WRITTEN = unit(2) - (unit(2) @ SEEN) * SEEN
WRITTEN /= WRITTEN.norm()


def plant(folder: Path, *, written: float = 20.0, raised: Tensor = RAISED) -> None:
    """Change the small model's weights: see `Z`, write `written` times WRITTEN, and read `#` along `raised` alone."""
    make_small(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    others = torch.eye(D_MODEL) - torch.outer(SEEN, SEEN)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding.copy_(embedding @ others)
        embedding[token(SEEN_TOKEN)] += 5 * SEEN
        for block in model.model.layers:  # nothing but the embedding of Z lies along SEEN
            for weight in (block.self_attn.o_proj.weight, block.mlp.down_proj.weight):
                weight.copy_(others @ weight)
        block = model.model.layers[PLANTED_LAYER]
        for weight in (
            block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj, block.self_attn.o_proj,
            block.mlp.down_proj,
        ):  # fmt: skip
            weight.weight.zero_()
        block.input_layernorm.weight.fill_(1.0)
        block.self_attn.v_proj.weight[0] = SEEN
        block.self_attn.o_proj.weight[:, 0] = written * WRITTEN
        model.model.norm.weight.fill_(1.0)
        head = model.lm_head.weight
        head.copy_(head - torch.outer(head @ raised, raised))
        head[token(RAISED_TOKEN)] = 2 * raised
        head[sorted(ENDS)] = 0  # answers do not end at once
    model.save_pretrained(folder)
