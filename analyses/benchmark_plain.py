"""What plain transformers needs for the same texts: the references of the benchmark."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedModel

from persona_interp.activations.extract import length_chunks
from persona_interp.models.packaged import PACKAGED_MODELS, packaged_folder
from persona_interp.models.tokens import encode, pad_id, token_batch

Ids = list[list[int]]


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
    prompt_ids: Ids
    response_ids: Ids
    sides: list[str]

    @property
    def n_tokens(self) -> int:
        """Tokens of all prompts and responses."""
        return sum(map(len, self.prompt_ids)) + sum(map(len, self.response_ids))


def weights_folder(model: str) -> Path:
    """Where the weights of a packaged model or of a folder are."""
    return packaged_folder(PACKAGED_MODELS[model]) if model in PACKAGED_MODELS else Path(model)


def plain_forward(
    model: PreTrainedModel, prompts: Ids, answers: Ids, tokens_at_once: int, *, head: bool = True
) -> None:
    """(a) The forward of transformers over length-sorted batches, as ours are, with or without the unembedding."""
    for chunk in length_chunks(prompts, answers, tokens_at_once):
        batch = token_batch([prompts[i] for i in chunk], [answers[i] for i in chunk])
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


def papers_end_to_end(model: PreTrainedModel, tokenizer, prompts: Sequence[str], config: Config) -> None:
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


def timed(work: Mapping[tuple[str, int], Callable[[], object]], number: str, repeats: int) -> pd.DataFrame:
    """One row a call and repeat, all calls in turn: repeat, row, what `number` names, wall and processor seconds.

    Args:
        work: the calls by their row and number.
    """
    rows = []
    for repeat in range(repeats):
        for (name, value), call in work.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            rows.append({"repeat": repeat, "row": name, number: value, "wall": wall, "processor": processor})
            print(f"{name:45s} {number} {value:3d} {wall:8.2f} s {processor:8.2f} s of processor", flush=True)  # noqa: T201
    return pd.DataFrame(rows)


Work = dict[str, tuple[Callable[[], object], int]]
"""By name: what is timed, and how many tokens it is about."""
