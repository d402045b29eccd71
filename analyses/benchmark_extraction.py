"""Extraction, contrastive extraction end to end, and steered generation, against plain transformers."""

from collections.abc import Sequence
from functools import partial
from statistics import median

import pandas as pd
import torch
from benchmark_plain import (
    Config,
    Texts,
    Work,
    matrix_peak,
    one_by_one,
    papers_end_to_end,
    plain_forward,
    seconds,
    weights_folder,
)
from transformers import AutoModelForCausalLM, PreTrainedModel

from persona_interp.activations.extract import all_blocks, extract_activations, length_chunks
from persona_interp.data.traits import load_trait
from persona_interp.directions.persona import persona_vector
from persona_interp.interventions.residual import Add
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import encode, pad_id, render_prompt, text_batch, token_batch
from persona_interp.rollouts.generate import Rollouts, contrastive_requests, generate_rollouts
from persona_interp.types import POOLINGS, Hookpoint, Pooling

BACKENDS = ("transformer_lens", "nnsight")


def run(config: Config, dtype: torch.dtype) -> pd.DataFrame:
    """One row a measurement and repeat: name, seconds, tokens."""
    folder = weights_folder(config.model)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    ours = {backend: load_model(config.model, backend, dtype=dtype) for backend in BACKENDS}
    texts = _texts(ours["transformer_lens"], config)
    work = _extraction_rows(plain, ours, texts, config)
    work |= _end_to_end_rows(plain, ours, texts, config)
    work |= _generation_rows(plain, ours, texts, config)
    rows = []
    for repeat in range(config.repeats):
        peak = matrix_peak(dtype)
        for name, (call, tokens) in work.items():
            rows.append({"repeat": repeat, "row": name, "seconds": seconds(call), "tokens": tokens, "peak": peak})
            print(f"{rows[-1]['row']:58s} {rows[-1]['seconds']:8.2f} s", flush=True)  # noqa: T201
    frame = pd.DataFrame(rows).assign(dtype=str(dtype).removeprefix("torch."))
    n_weights = sum(p.numel() for p in plain.base_model.parameters())
    return frame.assign(gflops=2 * n_weights * frame["tokens"] / frame["seconds"] / 1e9)


def _texts(model: HookedModelBase, config: Config) -> Texts:
    rollouts = _rollouts(model, config, pooled=False)
    frame = rollouts.frame[rollouts.frame["response_ids"].map(len) > 0]
    prompts = frame["prompt"].tolist()
    return Texts(
        prompts, encode(model.tokenizer, prompts), [list(i) for i in frame["response_ids"]], frame["side"].tolist()
    )


def _rollouts(model: HookedModelBase, config: Config, *, pooled: bool) -> Rollouts:
    return generate_rollouts(
        model,
        load_trait(config.trait),
        n_questions=config.n_questions,
        n_instructions=config.n_instructions,
        n_samples=config.n_samples,
        max_new_tokens=config.max_new_tokens,
        seed=config.seed,
        pool=POOLINGS if pooled else (),
        progress=False,
    )


def _extraction_rows(plain: PreTrainedModel, ours: dict[str, HookedModelBase], texts: Texts, config: Config) -> Work:
    n = texts.n_tokens
    forward = partial(plain_forward, plain, texts.prompt_ids, texts.response_ids, config.batch_size * 128)
    work: Work = {
        "(a) transformers forward": (forward, n),
        "(a) transformers forward, no unembedding": (partial(forward, head=False), n),
        "(b) one text at a time, hidden states": (lambda: one_by_one(plain, texts), n),
    }
    for backend, model in ours.items():
        work[f"(c) {backend}: extract_activations"] = (
            lambda model=model: extract_activations(model, texts.prompts, texts.response_ids, progress=False),
            n,
        )
        blocks = all_blocks(model)
        work[f"(c) {backend}: forward, nothing read"] = (lambda model=model: _batched(model, texts, config), n)
        work[f"(c) {backend}: forward, all layers pooled"] = (
            lambda model=model, blocks=blocks: _batched(model, texts, config, blocks, ("response_mean",)),
            n,
        )
        work[f"(c) {backend}: forward, all layers kept whole"] = (
            lambda model=model, blocks=blocks: _batched(model, texts, config, blocks),
            n,
        )
    return work


def _batched(
    model: HookedModelBase,
    texts: Texts,
    config: Config,
    read: Sequence[Hookpoint] = (),
    pool: Sequence[Pooling] = (),
) -> None:
    """The same batches as (a) with all logits, without shared prefixes: what reading itself costs."""
    for chunk in length_chunks(texts.prompt_ids, texts.response_ids, config.batch_size * 128):
        batch = token_batch([texts.prompt_ids[i] for i in chunk], [texts.response_ids[i] for i in chunk])
        model.run(batch, read=read, pool=pool, outputs="logits")


def _end_to_end_rows(plain: PreTrainedModel, ours: dict[str, HookedModelBase], texts: Texts, config: Config) -> Work:
    trait = load_trait(config.trait)
    requests = contrastive_requests(trait, n_questions=config.n_questions, n_instructions=config.n_instructions)
    tokenizer = ours["transformer_lens"].tokenizer
    prompts = [
        render_prompt(tokenizer, row.question, system=row.system)
        for row in requests.itertuples()
        for _ in range(config.n_samples)
    ]
    n = texts.n_tokens
    work: Work = {"generate, then re-run (papers)": (lambda: papers_end_to_end(plain, tokenizer, prompts, config), n)}
    for backend, model in ours.items():
        work[f"{backend}: contrastive vector end to end"] = (
            lambda model=model: persona_vector(_rollouts(model, config, pooled=True), filter="none"),
            n,
        )
    return work


def _generation_rows(plain: PreTrainedModel, ours: dict[str, HookedModelBase], texts: Texts, config: Config) -> Work:
    tokenizer = ours["transformer_lens"].tokenizer
    prompts = list(dict.fromkeys(texts.prompts))[: config.steered_prompts] * 2
    batch = text_batch(tokenizer, prompts)
    sampling = Sampling(config.max_new_tokens, seed=config.seed)
    n = len(prompts) * config.max_new_tokens
    inputs = {"input_ids": batch.ids, "attention_mask": batch.mask.long()}
    work: Work = {
        "transformers generate": (
            lambda: plain.generate(  # pyright: ignore (transformers mixes it in)
                **inputs,
                do_sample=True,
                max_new_tokens=config.max_new_tokens,
                min_new_tokens=config.max_new_tokens,
                pad_token_id=pad_id(tokenizer),
            ),
            n,
        )
    }
    for backend, model in ours.items():
        rollouts = generate_rollouts(
            model, load_trait(config.trait), n_questions=2, n_instructions=1, max_new_tokens=8, progress=False
        )
        vector = persona_vector(rollouts, filter="none")
        edits = Add(vector, layer=model.n_layers // 2, coefficient=0.05).edits
        work[f"{backend}: generate"] = (lambda model=model: model.generate(batch, sampling=sampling), n)
        work[f"{backend}: generate, steered"] = (
            lambda model=model, edits=edits: model.generate(batch, sampling=sampling, edits=edits),
            n,
        )
    return work


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Median over repeats of tokens a second, and of the ratios that the targets name."""
    references = {
        "(a)": "(a) transformers forward",
        "(b)": "(b) one text at a time, hidden states",
        "end": "generate, then re-run (papers)",
        "gen": "transformers generate",
    }
    rows = []
    for name, group in frame.groupby("row", sort=False):
        rate = group["tokens"] / group["seconds"]
        row = {
            "row": name,
            "tokens/s": round(rate.median()),
            "share of peak": (group["gflops"] / group["peak"]).median(),
        }
        for label, reference in references.items():
            other = frame[frame["row"] == reference].set_index("repeat")["seconds"]
            ratios = [other[r] / s for r, s in zip(group["repeat"], group["seconds"], strict=True)]
            row[f"x {label}"] = median(ratios)
        rows.append(row)
    table = pd.DataFrame(rows)
    keep_end = table["row"].str.contains("end to end|papers")
    keep_generation = table["row"].str.contains("generate") & ~table["row"].str.contains("papers")
    forward = ~(keep_end | keep_generation)
    table.loc[~forward, ["x (a)", "x (b)"]] = None
    table.loc[~keep_end, "x end"] = None
    table.loc[~keep_generation, "x gen"] = None
    return table


def overheads(frame: pd.DataFrame) -> pd.DataFrame:
    """Costs in per cent, medians over repeats: reading all layers over reading nothing, steering over not steering."""
    pairs = {}
    for backend in BACKENDS:
        for how in ("pooled", "kept whole"):
            pairs[f"{backend}: reading all layers, {how}"] = (
                f"(c) {backend}: forward, all layers {how}",
                "(a) transformers forward",
            )
        pairs[f"{backend}: forward over transformers"] = (
            f"(c) {backend}: forward, nothing read",
            "(a) transformers forward",
        )
        pairs[f"{backend}: steering"] = (f"{backend}: generate, steered", f"{backend}: generate")
        pairs[f"{backend}: generation over transformers"] = (f"{backend}: generate", "transformers generate")
    rows = []
    for name, (row, reference) in pairs.items():
        a, b = (frame[frame["row"] == r].set_index("repeat")["seconds"] for r in (row, reference))
        rows.append({"cost": name, "per cent": 100 * float(((a - b) / b).median())})
    return pd.DataFrame(rows)


def bfloat16_agreement(config: Config) -> float:
    """Smallest cosine over layers between the bfloat16 vector and the float32 one, same texts."""
    vectors = []
    texts = None
    for dtype in (torch.float32, torch.bfloat16):
        model = load_model(config.model, "transformer_lens", dtype=dtype)
        texts = texts or _texts(model, config)
        values = extract_activations(model, texts.prompts, texts.response_ids, progress=False).values
        positive = torch.tensor([side == "positive" for side in texts.sides])
        vectors.append(values[positive].mean(0) - values[~positive].mean(0))
    return float(torch.cosine_similarity(vectors[0], vectors[1], dim=-1).min())
