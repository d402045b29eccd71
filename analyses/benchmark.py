"""How fast: extraction, contrastive extraction end to end, and steered generation, against plain transformers.

All rows of a table come from one run on the same texts. A repeat measures every row once, in turn, so that noise of
the machine falls on all of them; ratios are taken within a repeat and their median is reported.
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from persona_interp.activations.extract import all_blocks, extract_activations, length_chunks
from persona_interp.data.traits import load_trait
from persona_interp.directions.persona import persona_vector
from persona_interp.interventions.residual import Add
from persona_interp.io import atomic_write_bytes, write_json
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import library_versions, load_model
from persona_interp.models.packaged import PACKAGED_MODELS, packaged_folder
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import encode, pad_id, render_prompt, text_batch, token_batch
from persona_interp.rollouts.generate import Rollouts, contrastive_requests, generate_rollouts
from persona_interp.types import POOLINGS, Hookpoint, Pooling

BACKENDS = ("transformer_lens", "nnsight")


@dataclass(frozen=True)
class Config:
    """What is timed. The full size is the contrastive rollouts of one trait."""

    model: str = "smollm2-135m-instruct"
    trait: str = "impolite"
    n_questions: int = 20
    n_instructions: int = 5
    n_samples: int = 2
    max_new_tokens: int = 48
    steered_prompts: int = 20
    repeats: int = 3
    seed: int = 0
    batch_size: int = 32


@dataclass(frozen=True)
class Texts:
    """The rollouts that are run through the model: prompts as rendered, prompt and response ids."""

    prompts: list[str]
    prompt_ids: list[list[int]]
    response_ids: list[list[int]]
    sides: list[str]

    @property
    def n_tokens(self) -> int:
        """Tokens of all prompts and responses."""
        return sum(map(len, self.prompt_ids)) + sum(map(len, self.response_ids))


def plain_forward(model: PreTrainedModel, texts: Texts, config: Config, *, head: bool) -> None:
    """(a) The forward of transformers over length-sorted batches, with or without the unembedding."""
    for chunk in length_chunks(texts.prompt_ids, texts.response_ids, config.batch_size * 128):
        batch = token_batch([texts.prompt_ids[i] for i in chunk], [texts.response_ids[i] for i in chunk])
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask.long(), "position_ids": batch.position_ids}
        with torch.inference_mode():
            (model if head else model.base_model)(**inputs, use_cache=False)


def one_by_one(model: PreTrainedModel, texts: Texts) -> torch.Tensor:
    """(b) The papers' procedure: one text at a time, hidden states, response mean; [text, layer, d_model]."""
    rows = []
    for prompt, response in zip(texts.prompt_ids, texts.response_ids, strict=True):
        with torch.inference_mode():
            states = model(
                torch.tensor([[*prompt, *response]]), output_hidden_states=True, use_cache=False
            ).hidden_states
        rows.append(torch.stack([state[0, len(prompt) :].float().mean(0) for state in states[1:]]))
    return torch.stack(rows)


def papers_end_to_end(model: PreTrainedModel, tokenizer, prompts: Sequence[str], config: Config) -> None:  # noqa: ANN001
    """Answers by transformers' own batched generate, then (b) over them."""
    answers: list[list[int]] = []
    for start in range(0, len(prompts), config.batch_size):
        inputs = tokenizer(
            prompts[start : start + config.batch_size], return_tensors="pt", padding=True, add_special_tokens=False
        )
        made = model.generate(  # pyright: ignore (transformers mixes it in)
            **inputs,
            do_sample=True,
            temperature=1.0,
            max_new_tokens=config.max_new_tokens,
            pad_token_id=pad_id(tokenizer),
        )
        end = {tokenizer.eos_token_id, tokenizer.pad_token_id}
        rows = made[:, inputs["input_ids"].shape[1] :].tolist()
        answers += [[t for t in row if t not in end] or row[:1] for row in rows]
    one_by_one(model, Texts(list(prompts), encode(tokenizer, prompts), answers, []))


def matrix_peak(dtype: torch.dtype, *, seconds: float = 1.0) -> float:
    """Matrix-product rate of the machine in GFLOP/s, at the shapes of a model of this size."""
    a, b = torch.randn(4096, 576, dtype=dtype), torch.randn(1536, 576, dtype=dtype)
    torch.nn.functional.linear(a, b)
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        torch.nn.functional.linear(a, b)
        n += 1
    return 2 * 4096 * 576 * 1536 * n / (time.perf_counter() - start) / 1e9


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(config: Config, dtype: torch.dtype) -> pd.DataFrame:
    """One row a measurement and repeat: name, seconds, tokens."""
    folder = packaged_folder(PACKAGED_MODELS[config.model]) if config.model in PACKAGED_MODELS else Path(config.model)
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


Work = dict[str, tuple[Callable[[], object], int]]


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
    work: Work = {
        "(a) transformers forward": (lambda: plain_forward(plain, texts, config, head=True), n),
        "(a) transformers forward, no unembedding": (lambda: plain_forward(plain, texts, config, head=False), n),
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


def main() -> None:
    """Measure and write tables under `analyses/results/benchmark/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/benchmark"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the texts (40)")
    chosen = parser.parse_args()
    config = Config(n_questions=2) if chosen.quick else Config()
    frames = [run(config, dtype) for dtype in (torch.float32, torch.bfloat16)]
    raw = pd.concat(frames, ignore_index=True)
    table = pd.concat([summary(f).assign(dtype=f["dtype"].iloc[0]) for f in frames], ignore_index=True)
    costs = pd.concat([overheads(f).assign(dtype=f["dtype"].iloc[0]) for f in frames], ignore_index=True)
    across = raw[raw["row"].str.contains("extract_activations|one text|papers|end to end")]
    base = across[across["dtype"] == "float32"].groupby("row")["seconds"].median()
    fast = across[across["dtype"] == "bfloat16"].groupby("row")["seconds"].median()
    facts = {
        "config": asdict(config),
        "versions": library_versions(),
        "bfloat16 extraction over float32 (b)": {
            b: base["(b) one text at a time, hidden states"] / fast[f"(c) {b}: extract_activations"] for b in BACKENDS
        },
        "bfloat16 end to end over float32 papers": {
            b: base["generate, then re-run (papers)"] / fast[f"{b}: contrastive vector end to end"] for b in BACKENDS
        },
        "bfloat16 vector, least cosine over layers with float32": bfloat16_agreement(config),
        "threads": torch.get_num_threads(),
        "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    for name, frame in (("raw", raw), ("table", table), ("overheads", costs)):
        atomic_write_bytes(chosen.out / f"{name}.csv", frame.to_csv(index=False).encode())
    write_json(chosen.out / "facts.json", facts)
    for text in (table.round(2).to_string(index=False), costs.round(1).to_string(index=False), facts):
        print(text)  # noqa: T201


if __name__ == "__main__":
    main()
