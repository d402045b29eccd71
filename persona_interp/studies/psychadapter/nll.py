"""What an adapter knows of texts it was not trained on: held-out loss at the right trait vector and at others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from persona_interp.activations.extract import length_chunks
from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed
from persona_interp.data.trait_texts import TraitTexts
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.errors import DataError
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, pad_id, token_batch
from persona_interp.progress import track
from persona_interp.statistics import bootstrap_mean, permutation_p_value, permutation_test_paired
from persona_interp.statistics.families import in_families
from persona_interp.statistics.power import detectable_effect
from persona_interp.statistics.streams import stream

LOGIT_BUDGET = 60_000_000
"""Logits of one pass: 240 MB in float32."""

Scores = Float[np.ndarray, "text trait"]
Losses = Float[np.ndarray, " text"]


@checked
def adapter_nll(
    model: HookedModel,
    adapter: PsychAdapter,
    data: TraitTexts,
    *,
    n_shuffles: Count = 5,
    by_trait: bool = False,
    max_tokens: Count | None = None,
    n_resamples: Count = 2000,
    n_permutations: Count = 4999,
    seed: Seed = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Loss of held-out texts (nats a token, every text counting alike) under four kinds of trait vector.

    `right`: each text's own scores; `shuffled`: another text's, in each of several shuffles that leave none in place;
    `mean author`: z = 0; `no adapter`: no virtual token, but the LoRA if there is one. Rows with the metric `nll` are
    means; rows with `nll difference` are condition minus right, paired over texts: `shuffled` above 0 means that the
    adapter uses the scores. Intervals are bootstraps over texts.

    The p-value of `shuffled` (one-sided) exchanges, within each text, the right vector and those of the shuffles; of
    the others (two-sided) it flips the signs of whole texts. That of `mean author` asks for more than that traits be
    used: an average vector may also fit averagely.

    `q` has one primary test (`declared`), `shuffled` of all traits together; the others are exploratory and corrected
    apart from it. `detectable`: the least difference found in 80 % of repetitions.

    Args:
        data: texts that the adapter was not trained on; standardised by the adapter where they are not.
        n_shuffles: the smallest p-value does not depend on it, the noise does.
        by_trait: also shuffle each trait alone, the others staying right (`trait` names it; elsewhere it is "all").
        max_tokens: predicted tokens of a text, its end among them, as in training; by default as many as there, or 128.

    Raises:
        DataError: other traits than the adapter's, or fewer than two texts.
        ConfigError: fewer than one shuffle.
        IncompatibleDirectionError: the adapter belongs to another model.
    """
    z = _scores(model, adapter, data)
    rng = stream(seed, "shuffles")
    shuffles = [_deranged(len(z), rng) for _ in range(n_shuffles)]
    traits = ("all", *(adapter.traits if by_trait and len(adapter.traits) > 1 else ()))
    plan: list[tuple[str, str, Scores | None]] = [("all", "right", z), ("all", "mean author", np.zeros_like(z))]
    plan += [("all", "no adapter", None)]
    plan += [(trait, "shuffled", _shuffled(z, adapter.traits, trait, order)) for trait in traits for order in shuffles]
    found: dict[tuple[str, str], list[Losses]] = {}
    for trait, condition, vectors in track(plan, "held-out loss", total=len(plan), show=progress):
        losses = text_losses(model, adapter, data.texts, vectors, max_tokens=max_tokens)
        found.setdefault((trait, condition), []).append(losses)
    right = found["all", "right"][0]
    texts = np.array(data.ids)
    rows = []
    for (trait, condition), losses in found.items():
        mean, about = np.mean(losses, axis=0), {"trait": trait, "condition": condition}
        level = bootstrap_mean(mean, texts, n_resamples=n_resamples, seed=seed)
        rows.append({**about, "metric": "nll", **level.row})
        if condition == "right":
            continue
        p = (
            exchange_p_value(right, np.stack(losses, axis=1), n_permutations=n_permutations, seed=seed)
            if condition == "shuffled"
            else permutation_test_paired(mean, right, texts, n_permutations=n_permutations, seed=seed).tested
        )
        difference = bootstrap_mean(mean - right, texts, n_resamples=n_resamples, seed=seed)
        least = detectable_effect(difference.error, difference.freedom)
        rows.append({**about, "metric": "nll difference", **difference.row, "p": p, "detectable": least})
    table = pd.DataFrame(rows)
    primary = (table["trait"] == "all") & (table["condition"] == "shuffled")
    table = in_families(table, ["trait", "condition"], primary=primary.to_numpy())
    table = table.sort_values(["metric", "trait"], kind="stable", ignore_index=True)
    return table.assign(model=model.name, method="psychadapter", data=data.source, n_shuffles=n_shuffles)


def text_losses(
    model: HookedModel,
    adapter: PsychAdapter,
    texts: Sequence[str],
    z: Scores | None,
    *,
    max_tokens: int | None = None,
) -> Losses:
    """Mean -log p (nats a token) of every text at its trait vector, or without the adapter.

    A text begins where training texts began, and its end is predicted too unless it was cut; where the beginning is not
    on record, the first token is given, not predicted.
    """
    prompts, responses = started(model, adapter, texts, max_tokens, ended=True)
    losses = np.empty(len(texts))
    for chunk in length_chunks(prompts, responses, max(1, LOGIT_BUDGET // model.tokenizer.vocab_size)):
        batch = token_batch([prompts[i] for i in chunk], [responses[i] for i in chunk], pad_id=pad_id(model.tokenizer))
        prefix = None if z is None else TraitPrefix(adapter, torch.from_numpy(z[chunk]).float()).prefix
        made = model.run(batch, outputs="token_logprobs", prefix=prefix)
        assert made.token_logprobs is not None, "log-probabilities were asked for"
        losses[chunk] = -(made.token_logprobs.double().sum(-1).cpu() / batch.response.sum(-1)).numpy()
    return losses


def started(
    model: HookedModel, adapter: PsychAdapter, texts: Sequence[str], max_tokens: int | None, *, ended: bool = False
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of what stands in front of every text, and of the texts, cut as in training.

    Args:
        ended: whether the end of text follows texts that are shorter.

    Raises:
        DataError: a text has no token after its beginning.
    """
    longest = max_tokens or adapter.provenance.details.get("settings", {}).get("max_tokens", 128)
    end = [model.tokenizer.eos_token_id] if ended and model.tokenizer.eos_token_id is not None else []
    start = encode(model.tokenizer, [adapter.start])[0] if adapter.start else []
    ids = [[*row, *end][: longest + (not start)] for row in encode(model.tokenizer, texts)]
    if short := next((i for i, row in enumerate(ids, start=1) if len(row) < 1 + (not start)), None):
        raise DataError(f"text {short} has no token to predict: {texts[short - 1]!r}.", "Leave it out.")
    return ([start for _ in ids], ids) if start else ([row[:1] for row in ids], [row[1:] for row in ids])


def exchange_p_value(
    right: Losses, shuffled: Float[np.ndarray, "text shuffle"], *, n_permutations: int = 4999, seed: int = 0
) -> float:
    """One-sided p of mean(shuffled - right) when any one of a text's losses might as well be the right one's.

    Measured rate of p <= 0.05 with no effect: 0.055 (1,000 simulated sets of 40 texts and 4 shuffles).
    """
    losses = np.concatenate([right[:, None], shuffled], axis=1)
    n_texts, n_vectors = losses.shape
    gaps = (losses.sum(axis=1, keepdims=True) - n_vectors * losses) / (n_vectors - 1)
    rng, at_once = stream(seed, "exchanged texts"), max(1, 4_000_000 // n_texts)
    null = [
        np.take_along_axis(gaps, rng.integers(n_vectors, size=(n_texts, min(at_once, n_permutations - done))), axis=1)
        for done in range(0, n_permutations, at_once)
    ]
    observed = float(gaps[:, 0].mean())
    return permutation_p_value(observed - 1e-9 * abs(observed), np.concatenate([part.mean(axis=0) for part in null]))


def _scores(model: HookedModel, adapter: PsychAdapter, data: TraitTexts) -> Scores:
    """The trait vectors of the texts, by the adapter's own standard."""
    TraitPrefix(adapter, [0.0] * adapter.n_traits).check(model)
    if data.traits != adapter.traits:
        raise DataError(
            f"{data.source} has scores for {', '.join(data.traits)}.",
            f"The adapter was trained on {', '.join(adapter.traits)}: give those, in that order.",
        )
    if len(data) < 2:
        raise DataError(f"{data.source} holds one text.", "Shuffling trait vectors takes two or more.")
    return data.standardised(adapter.standard if data.standard is None else None).scores


def _deranged(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random order in which nobody keeps their place."""
    order = rng.permutation(n)
    moved = np.empty(n, dtype=int)
    moved[order] = np.roll(order, 1)
    return moved


def _shuffled(z: Scores, traits: Sequence[str], trait: str, order: np.ndarray) -> Scores:
    if trait == "all":
        return z[order]
    made, k = z.copy(), traits.index(trait)
    made[:, k] = z[order, k]
    return made
