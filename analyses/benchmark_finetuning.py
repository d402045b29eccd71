"""How long a finetuning run takes, and what the drift callback costs: training with and without it, in turn.

The share is the callback's time between steps over the time of the same steps without it, within a repeat, by wall time
and by the processor time of this process (which other programs on the machine disturb less). What it does once, before
the first step, is given apart: a run of any length pays it once.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.data.traits import load_trait
from persona_interp.directions.direction import Direction
from persona_interp.finetuning.callback import DriftCallback
from persona_interp.finetuning.samples import encode_sample
from persona_interp.finetuning.settings import TrainingDtype, TrainingSettings
from persona_interp.finetuning.train import finetune
from persona_interp.models.identity import describe
from persona_interp.models.load import load_plain
from persona_interp.types import Hookpoint

ALONE, WITH = "training alone", "training with the drift callback"


@dataclass(frozen=True)
class CallbackConfig:
    """What is timed. `n_steps` is a whole number of periods of `every`, as in a long run."""

    model: str = "smollm2-135m-instruct"
    trait: str = "impolite"
    n_prompts: int = 16
    n_directions: int = 3
    layers: tuple[int, ...] = (10, 15, 20)
    every: int = 10
    n_steps: int = 10
    batch_size: int = 8
    n_tokens: int = 96
    rank: int = 32
    repeats: int = 2


class _Clock(TrainerCallback):
    """Wall and processor seconds of a run's steps, and of what another callback does in them."""

    def __init__(self, inner: DriftCallback | None) -> None:
        self.inner, self.begin, self.inside, self.total = inner, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Time what is done once."""
        start = _now()
        if self.inner is not None:
            self.inner.on_train_begin(args, state, control, **given)
        self.begin, self._start = _since(start), _now()

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Time what is done after a step."""
        start = _now()
        if self.inner is not None:
            self.inner.on_step_end(args, state, control, **given)
        wall, processor = _since(start)
        self.inside = (self.inside[0] + wall, self.inside[1] + processor)
        self.total = _since(self._start)


def callback_rows(config: CallbackConfig) -> pd.DataFrame:
    """One row a run: repeat, row, wall and processor seconds of the steps, of the callback in them, and before them."""
    rows = []
    for repeat in range(config.repeats):
        for name in (ALONE, WITH) if repeat % 2 == 0 else (WITH, ALONE):
            clock = _timed_run(config, with_callback=name == WITH)
            row: dict[str, Any] = {"repeat": repeat, "row": name}
            for kind, times in (("", clock.total), ("callback ", clock.inside), ("before ", clock.begin)):
                row |= {f"{kind}wall": times[0], f"{kind}processor": times[1]}
            rows.append(row)
            print("  ".join(f"{k} {v:.2f}" if isinstance(v, float) else str(v) for k, v in row.items()), flush=True)  # noqa: T201
    return pd.DataFrame(rows).assign(steps=config.n_steps, every=config.every)


def callback_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians over repeats: the callback's share of the training time, and of one step what it does once."""
    rows = []
    with_it, alone = (frame[frame["row"] == name].set_index("repeat") for name in (WITH, ALONE))
    for clock in ("wall", "processor"):
        inside = with_it[f"callback {clock}"]
        rows.append(
            {
                "clock": clock,
                "seconds a step": (alone[clock] / alone["steps"]).median(),
                "share of training": (inside / (with_it[clock] - inside)).median(),
                "with over alone": (with_it[clock] / alone[clock]).median(),
                "seconds before the first step": with_it[f"before {clock}"].median(),
            }
        )
    return pd.DataFrame(rows)


def _timed_run(config: CallbackConfig, *, with_callback: bool) -> _Clock:
    plain, tokenizer = load_plain(config.model, device="cpu")
    inner = _callback(config, plain, tokenizer) if with_callback else None
    torch.manual_seed(0)
    adapter = LoraConfig(task_type="CAUSAL_LM", r=config.rank, use_rslora=True, target_modules="all-linear")
    ids = torch.randint(100, 40_000, (config.batch_size * config.n_steps, config.n_tokens))
    rows: Sequence[dict[str, torch.Tensor]] = [{"input_ids": row, "labels": row} for row in ids]
    clock = _Clock(inner)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=config.n_steps,
            per_device_train_batch_size=config.batch_size,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        Trainer(
            model=get_peft_model(plain, adapter),  # pyright: ignore
            args=arguments,
            train_dataset=rows,  # pyright: ignore (a list is a dataset)
            processing_class=tokenizer,
            callbacks=[clock],
        ).train()
    return clock


def _callback(config: CallbackConfig, plain: Any, tokenizer: PreTrainedTokenizerBase) -> DriftCallback:
    """The callback on random directions, which cost what any do."""
    provenance = describe(plain, tokenizer)
    directions = [
        Direction(
            vectors=torch.randn(len(config.layers), provenance.d_model),
            hookpoints=tuple(Hookpoint(layer) for layer in config.layers),
            trait=f"random {i}",
            method="random",
            positive_pole="nothing",
            provenance=provenance,
        )
        for i in range(config.n_directions)
    ]
    prompts = load_trait(config.trait).questions[: config.n_prompts]
    return DriftCallback(directions, config.layers, prompts=prompts, every=config.every)


@dataclass(frozen=True)
class RunConfig:
    """A whole run of `finetune`: samples of one length, prompt and answer together."""

    model: str = "smollm2-135m-instruct"
    n_samples: int = 300
    n_tokens: int = 96
    dtypes: tuple[TrainingDtype, ...] = ("float32", "bfloat16")


def run_rows(config: RunConfig) -> pd.DataFrame:
    """Seconds of a whole run by dtype, from the call to the kept adapter, and its tokens a second."""
    tokenizer = load_plain(config.model, device="cpu")[1]
    talks = [_talk(tokenizer, config.n_tokens, i) for i in range(config.n_samples)]
    rows = []
    for dtype in config.dtypes:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            settings = TrainingSettings(dtype=dtype)
            done = finetune(config.model, talks, out=Path(folder) / "run", settings=settings, device="cpu")
            seconds = time.perf_counter() - start
        tokens = sum(len(encode_sample(tokenizer, talk).ids) for talk in talks)
        facts = {"dtype": dtype, "samples": len(talks), "tokens": tokens, "steps": done.n_steps, "seconds": seconds}
        rows.append({**facts, "minutes": seconds / 60, "tokens a second": tokens / seconds})
    return pd.DataFrame(rows)


def _talk(tokenizer: PreTrainedTokenizerBase, n_tokens: int, seed: int) -> Conversation:
    """A conversation of about so many tokens, a third of them prompt, of the words of a trait's questions."""
    words = " ".join(load_trait("impolite").questions).split()
    chosen = np.random.default_rng(seed).choice(words, 4 * n_tokens).tolist()
    talk = question_and_answer(" ".join(chosen[:4]), " ".join(chosen[4:]))
    for n in range(4, len(chosen)):
        talk = question_and_answer(" ".join(chosen[:4]), " ".join(chosen[4 : n + 1]))
        if len(encode_sample(tokenizer, talk).ids) >= n_tokens:
            break
    return talk


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> tuple[float, float]:
    return time.perf_counter() - start[0], time.process_time() - start[1]


def main() -> None:
    """Print the rows and their summary."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(run_rows(RunConfig()).to_string(index=False))  # noqa: T201
    print(callback_summary(callback_rows(CallbackConfig())).to_string(index=False))  # noqa: T201


if __name__ == "__main__":
    main()
