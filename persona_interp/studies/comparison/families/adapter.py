"""The direction that an adapter's trait value induces in the residuals of given texts."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from persona_interp.activations.extract import all_blocks, length_chunks
from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.directions.direction import Direction
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.interventions.record import record
from persona_interp.io import sha256_json
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.studies.comparison.families.family import ADAPTER, Family, Made, Missing

NAME = "induced direction"
Z, N_TEXTS, _TOKENS_AT_ONCE = 3.0, 24, 4096


def adapter_families(
    model: HookedModel, adapter: PsychAdapter | None, trait: str, n_texts: int = N_TEXTS
) -> tuple[list[Family], list[Missing]]:
    """Mean residual of neutral texts at z = +3 minus that at z = -3, both inside the adapted model, at every block.

    Source: Vu et al. 2026, PsychAdapter (npj Artificial Intelligence 2:7), for the adapter.
    """
    if adapter is None:
        return [], [Missing(NAME, "no adapter was given (--adapter)")]
    if trait not in adapter.traits:
        return [], [Missing(NAME, f"the adapter has no trait {trait}, but {', '.join(adapter.traits)}")]
    texts = load_neutral_texts()[:n_texts]
    sides = [_residuals(model, adapter, trait, z, texts) for z in (Z, -Z)]
    values, norms = torch.cat([found for found, _ in sides]), (sides[0][1] + sides[1][1]) / 2

    def refit(keep: Bool[np.ndarray, " row"], positive: Bool[np.ndarray, " row"]) -> Float[Tensor, "layer d_model"]:
        return values[torch.from_numpy(keep & positive)].mean(0) - values[torch.from_numpy(keep & ~positive)].mean(0)

    positive = np.repeat([True, False], len(texts))
    units = np.tile([str(i) for i in range(len(texts))], 2)
    details = {"adapter": sha256_json(record(adapter))[:16], "z": [-Z, Z], "n_texts": len(texts)}
    direction = Direction(
        vectors=refit(np.ones(len(units), dtype=bool), positive),
        hookpoints=all_blocks(model),
        trait=trait,
        method="psychadapter_induced",
        positive_pole=f"high {trait}",
        provenance=model.provenance.derive("psychadapter_induced", 1, pooling="response_mean", **details),
        residual_norms=norms,
    )
    return [Family(NAME, ADAPTER, "virtual_token", direction, Made(refit, units, positive, "text"))], []


def _residuals(
    model: HookedModel, adapter: PsychAdapter, trait: str, z: float, texts: tuple[str, ...]
) -> tuple[Float[Tensor, "text layer d_model"], Float[Tensor, " layer"]]:
    """Mean residual of each text's tokens at a trait value, the others at 0, and the mean norm of a token."""
    prefix = TraitPrefix(adapter, {trait: z})
    prefix.check(model)
    start = encode(model.tokenizer, [adapter.start])[0] if adapter.start else []
    ids = encode(model.tokenizer, texts)
    prompts = [start if start else row[:1] for row in ids]
    responses = ids if start else [row[1:] for row in ids]
    hookpoints = all_blocks(model)
    values = torch.empty(len(texts), len(hookpoints), model.d_model)
    norms = torch.empty(len(texts), len(hookpoints))
    for chunk in length_chunks(prompts, responses, _TOKENS_AT_ONCE):
        batch = token_batch([prompts[i] for i in chunk], [responses[i] for i in chunk], pad_id=pad_id(model.tokenizer))
        made = model.run(batch, read=hookpoints, pool=("response_mean",), outputs="none", prefix=prefix.prefix)
        assert made.norms is not None, "pooled passes record norms"
        values[chunk], norms[chunk] = made.pooled["response_mean"].float().cpu(), made.norms.float().cpu()
    return values, norms.mean(0)
