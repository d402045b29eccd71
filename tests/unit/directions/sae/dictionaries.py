"""Small dictionaries of SAELens for tests: of every architecture, with weights that are known."""

from typing import Any

import torch
from sae_lens import (
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    JumpReLUSkipTranscoder,
    JumpReLUSkipTranscoderConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
    Transcoder,
    TranscoderConfig,
)
from sae_lens.saes.sae import SAEMetadata
from torch import Tensor

from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.types import Hookpoint

CLASSES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "standard": (StandardSAE, StandardSAEConfig, {}),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig, {}),
    "gated": (GatedSAE, GatedSAEConfig, {}),
    "topk": (TopKSAE, TopKSAEConfig, {"k": 4}),
    "topk, by norm": (TopKSAE, TopKSAEConfig, {"k": 4, "rescale_acts_by_decoder_norm": True}),
    "transcoder": (Transcoder, TranscoderConfig, {"apply_b_dec_to_input": False}),
    "skip transcoder": (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig, {"apply_b_dec_to_input": False}),
}


def make_sae(kind: str, *, d_in: int = 16, n_latents: int = 24, seed: int = 0, **options: Any) -> Any:
    """A random dictionary of SAELens; `metadata` may be given."""
    sae_class, config_class, own = CLASSES[kind]
    made = {"d_in": d_in, "d_sae": n_latents, **own, **options}
    if "transcoder" in kind:
        made["d_out"] = d_in
    made["metadata"] = SAEMetadata(**{"hook_name": "blocks.1.hook_resid_post", **options.get("metadata", {})})
    sae = sae_class(config_class(**made))
    generator = torch.Generator().manual_seed(seed)
    for parameter in sae.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    if hasattr(sae, "threshold"):
        sae.threshold.data = sae.threshold.data.abs()
    return sae.eval().requires_grad_(False)


def dictionary(decoder: Tensor, **changes: Any) -> Dictionary:
    """A dictionary whose decoder is given, its encoder the transposed one, for what looks at decoders alone."""
    sae = make_sae("standard", d_in=decoder.shape[1], n_latents=decoder.shape[0])
    sae.W_dec.data, sae.W_enc.data = decoder.clone(), decoder.T.clone().contiguous()
    sae.b_dec.data.zero_()
    sae.b_enc.data.zero_()
    plain: dict[str, Any] = {
        "hookpoint": Hookpoint(1),
        "writes": Hookpoint(1),
        "kind": "standard",
        "decoder": decoder,
        "id": "small",
        "weights": "dddd",
        "sae": sae,
    }
    return Dictionary(**{**plain, **changes})
