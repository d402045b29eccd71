"""What screening costs: projecting samples on directions against plain forward passes over the same batches.

The reference is transformers' forward with its logits over the same tokens in the same batches. `project_samples` stops
at the layer that is read and computes no logits, renders and tokenises the samples, and projects; the reference is
given token ids. Rows that begin alike (a default system prompt, a question) are computed once from there by ours and
not by the reference. Ratios are taken within a repeat, plain over ours, so more than 1 is faster than plain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from benchmark_judges import JudgeConfig, questions_and_answers
from benchmark_plain import plain_forward, timed, weights_folder
from transformers import AutoModelForCausalLM

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.directions.direction import Direction
from persona_interp.measurements.sample_projections import conversation_ids, project_samples
from persona_interp.models.load import Backend, load_model
from persona_interp.models.protocol import HookedModel
from persona_interp.types import Hookpoint

PLAIN = "transformers forward"


@dataclass(frozen=True)
class ScreeningConfig:
    """What is timed: samples of a question and some exemplar answers in a row, about 100 tokens each.

    Args:
        layers: each is timed alone.
        n_directions: random ones; what they are costs nothing.
        tokens_at_once: padded tokens of a batch, on both sides.
    """

    model: str = "smollm2-135m-instruct"
    trait: str = "impolite"
    backends: tuple[Backend, ...] = ("transformer_lens",)
    n_samples: int = 64
    layers: tuple[int, ...] = (18, 28)
    n_directions: int = 3
    tokens_at_once: int = 4096
    repeats: int = 3
    seed: int = 0


def samples(config: ScreeningConfig) -> list[Conversation]:
    """Questions of a trait, each with exemplar answers of all traits one after the other."""
    n_questions = min(20, config.n_samples)
    shape = JudgeConfig(trait=config.trait, n_questions=n_questions, n_answers=-(-config.n_samples // n_questions))
    questions, answers = questions_and_answers(shape)
    return [
        question_and_answer(questions[i], f"{answers[i]} {answers[-1 - i]}"[: 200 + 40 * (i % 9)], name=f"sample {i}")
        for i in range(config.n_samples)
    ]


def random_directions(model: HookedModel, config: ScreeningConfig) -> list[Direction]:
    """Directions at the timed layers."""
    generator = torch.Generator().manual_seed(config.seed)
    vectors = torch.randn(config.n_directions, len(config.layers), model.d_model, generator=generator)
    points = tuple(Hookpoint(layer) for layer in config.layers)
    return [Direction(v, points, f"random {i}", "random", "up", model.provenance) for i, v in enumerate(vectors)]


def screening_rows(config: ScreeningConfig, dtype: torch.dtype) -> pd.DataFrame:
    """One row a measurement and repeat: row, layer (-1: plain), wall and processor seconds, samples and tokens."""
    talks = samples(config)
    plain = AutoModelForCausalLM.from_pretrained(weights_folder(config.model), dtype=dtype).eval()
    models = {backend: load_model(config.model, backend, dtype=dtype) for backend in config.backends}
    ids = [conversation_ids(next(iter(models.values())).tokenizer, talk) for talk in talks]
    prompts, answers = [prompt for prompt, _ in ids], [answer for _, answer in ids]
    reference = partial(plain_forward, plain, tokens_at_once=config.tokens_at_once)
    work: dict[tuple[str, int], Callable[[], object]] = {(PLAIN, -1): partial(reference, prompts, answers)}
    reference(prompts[:4], answers[:4])
    for backend, model in models.items():
        directions = random_directions(model, config)
        project = partial(project_samples, model, tokens_at_once=config.tokens_at_once, progress=False)
        project(talks[:4], directions, config.layers)
        for layer in config.layers:
            work[f"project_samples, {backend}", layer] = partial(project, talks, directions, [layer])
    frame = timed(work, "layer", config.repeats)
    frame = frame.assign(dtype=str(dtype).removeprefix("torch."), samples=len(talks))
    return frame.assign(tokens=sum(map(len, prompts)) + sum(map(len, answers)), n_layers=plain.config.num_hidden_layers)


def screening_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians over repeats: tokens a second, and speed as a multiple of plain by wall and by processor time."""
    rows = []
    for (dtype, name, layer), group in frame.groupby(["dtype", "row", "layer"], sort=False):
        row = {"dtype": dtype, "row": name, "layer": layer}
        row["tokens a second"] = (group["tokens"] / group["wall"]).median()
        plain = frame[(frame["dtype"] == dtype) & (frame["row"] == PLAIN)].set_index("repeat")
        for clock in ("wall", "processor"):
            row[f"x plain, {clock}"] = (plain[clock] / group.set_index("repeat")[clock]).median()
        rows.append(row)
    return pd.DataFrame(rows)
