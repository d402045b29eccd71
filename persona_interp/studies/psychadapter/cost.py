"""What an adapter costs: numbers to store, bytes, and time while generating."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM

from persona_interp.data.writing_prompts import text_openings
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import text_batch
from persona_interp.statistics import bootstrap_mean, bootstrap_statistic
from persona_interp.statistics.streams import derived_seed
from persona_interp.types import KVPrefix


def adapter_cost(
    model: HookedModelBase,
    adapter: PsychAdapter,
    *,
    path: Path | None = None,
    n_lora_parameters: int = 0,
    n_rows: int = 8,
    max_new_tokens: int = 32,
    n_repeats: int = 7,
    seed: int = 0,
) -> pd.DataFrame:
    """Parameters (of the adapter, of LoRA beside it, of the base), their share, bytes of the file, and slow-down.

    The slow-down is the median over repeats of time a token with the adapter, over that without, minus 1; repeats with
    and without take turns, which comes first alternates too, and every row has a trait vector of its own. Its interval
    is a bootstrap over repeats. The published share, below 0.1 %, is that of the adapter alone: with LoRA, which the
    published code trains too, what is added is both together.

    Args:
        path: the adapter's saved file.
    """
    n_base, n_own = base_parameters(model), adapter.n_parameters
    facts = {
        "parameters": n_own,
        "LoRA parameters": n_lora_parameters,
        "base parameters": n_base,
        "share of the base": n_own / n_base,
        "share of the base, with LoRA": (n_own + n_lora_parameters) / n_base,
        **({} if path is None else {"bytes of the file": path.stat().st_size}),
    }
    nan = float("nan")
    rows = [{"metric": name, "estimate": float(x), "low": nan, "high": nan, "n": 1} for name, x in facts.items()]
    openings = [f"{adapter.start or ''}{text}" for text in text_openings()[:n_rows]]
    z = torch.randn(len(openings), adapter.n_traits, generator=torch.Generator().manual_seed(seed))
    prefix = TraitPrefix(adapter, z).prefix
    plain, ours = _alternating(model, openings, prefix, max_new_tokens, n_repeats, seed)
    repeats = np.arange(n_repeats).astype(str)
    timed = {
        "seconds a token": bootstrap_mean(plain, repeats, seed=seed),
        "seconds a token, with adapter": bootstrap_mean(ours, repeats, seed=seed),
        "slow-down": bootstrap_statistic(
            lambda ratio: float(np.median(ratio)), (ours / plain - 1,), repeats, seed=seed
        ),
    }
    rows += [{"metric": name, **found.row} for name, found in timed.items()]
    return pd.DataFrame(rows).assign(model=model.name, method="psychadapter", trait="+".join(adapter.traits))


def base_parameters(model: HookedModelBase) -> int:
    """Number of weights that the model's configuration asks for, tied ones counted once."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(model.config).num_parameters()


def _alternating(
    model: HookedModelBase, prompts: Sequence[str], prefix: KVPrefix, max_new_tokens: int, n_repeats: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds a token without and with the virtual tokens, in repeats that take turns; one of each warms up."""
    batch = text_batch(model.tokenizer, prompts)
    taken = np.empty((n_repeats + 1, 2))
    for k in range(n_repeats + 1):
        for side in (0, 1) if k % 2 else (1, 0):
            sampling = Sampling(max_new_tokens, 1.0, seed=derived_seed(seed, "cost", k))
            start = time.perf_counter()
            made = model.generate(batch, sampling=sampling, prefix=prefix if side else None)
            taken[k, side] = (time.perf_counter() - start) / max(1, *map(len, made.ids))
    return taken[1:, 0], taken[1:, 1]
