"""A small adapter with random weights, of the model that the stand-ins are."""

from typing import Any

import torch

from persona_interp.data.trait_texts import Standard
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from tests.small import provenance

SHAPE = KVShape(n_layers=3, n_kv_heads=2, d_head=4)
STANDARD = Standard(("one", "two"), (1.0, -2.0), (0.5, 3.0))


def an_adapter(**changes: Any) -> PsychAdapter:
    torch.manual_seed(0)
    plain = {"shape": SHAPE, "traits": ("one", "two"), "provenance": provenance(), "standard": STANDARD}
    return PsychAdapter(**{**plain, **changes}).requires_grad_(False)
