"""What judging costs: the likelihood judge against plain forward passes, the embedding judge, requests to an API.

The reference of the likelihood judge is transformers' forward, with its logits, over the answer tokens alone: no
prompt, length-sorted, so many answers at once. The judge's time is divided by that once per system prompt it uses.
Ratios are taken within a repeat, by wall time and by the processor time of this process (which other programs on the
machine disturb less), and their medians are reported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from benchmark_api import api_row
from benchmark_plain import timed, weights_folder
from transformers import AutoModelForCausalLM, PreTrainedModel

from persona_interp.data.traits import list_traits, load_trait
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.models.load import Backend, load_model
from persona_interp.models.tokens import encode, token_batch

PLAIN = "transformers forward, answer tokens alone"
EMBEDDING = "embedding judge"


@dataclass(frozen=True)
class JudgeConfig:
    """What is timed. Answers are exemplar answers of all traits, made longer by some words of another one.

    Args:
        judges: (backend, prompt pairs) of each likelihood judge.
    """

    model: str = "smollm2-135m-instruct"
    trait: str = "impolite"
    n_questions: int = 20
    n_answers: int = 10
    rows_at_once: int = 64
    judges: tuple[tuple[Backend, int], ...] = (("transformer_lens", 1), ("transformer_lens", 5), ("nnsight", 1))
    repeats: int = 3


def questions_and_answers(config: JudgeConfig) -> tuple[list[str], list[str]]:
    """Every question of the trait with so many answers of 30 to 65 tokens, all different."""
    exemplars = [exemplar for name in list_traits() for exemplar in load_trait(name).exemplars]
    pool = list(dict.fromkeys(answer for exemplar in exemplars for answer in (exemplar.pos, exemplar.neg)))
    n = config.n_questions * config.n_answers
    others = [pool[(7 * i + 1) % len(pool)].split()[: i % 15] for i in range(n)]
    answers = [" ".join([pool[i % len(pool)], *words]) for i, words in enumerate(others)]
    questions = load_trait(config.trait).questions[: config.n_questions]
    return [question for question in questions for _ in range(config.n_answers)], answers


def plain_answers(model: PreTrainedModel, answers: Sequence[Sequence[int]], rows_at_once: int) -> None:
    """The forward of transformers over answers alone."""
    ordered = sorted(answers, key=len)
    for start in range(0, len(ordered), rows_at_once):
        batch = token_batch(ordered[start : start + rows_at_once])
        with torch.inference_mode():
            model(
                input_ids=batch.ids,
                attention_mask=batch.mask.long(),
                position_ids=batch.position_ids,
                use_cache=False,
            )


def run_judges(config: JudgeConfig, dtype: torch.dtype) -> pd.DataFrame:
    """One row a measurement and repeat: row, n_pairs (0: not of a likelihood judge), wall and processor seconds."""
    trait = load_trait(config.trait)
    questions, answers = questions_and_answers(config)
    plain = AutoModelForCausalLM.from_pretrained(weights_folder(config.model), dtype=dtype).eval()
    backends: list[Backend] = [backend for backend, _ in config.judges]
    models = {backend: load_model(config.model, backend, dtype=dtype) for backend in set(backends)}
    answer_ids = encode(next(iter(models.values())).tokenizer, answers)
    embedding = EmbeddingJudge()
    work: dict[tuple[str, int], Callable[[], object]] = {
        (PLAIN, 0): lambda: plain_answers(plain, answer_ids, config.rows_at_once)
    }
    for backend, n_pairs in config.judges:
        judge = LikelihoodJudge(models[backend], n_pairs=n_pairs, progress=False)
        work[f"likelihood judge, {backend}", n_pairs] = lambda judge=judge: judge.log_ratios(trait, questions, answers)
    work[EMBEDDING, 0] = lambda: embedding.rate(trait, questions, answers)
    embedding.rate(trait, questions[:1], answers[:1])  # the axis of the trait, like the other's calibration, is kept
    plain_answers(plain, answer_ids[:4], config.rows_at_once)
    frame = timed(work, "n_pairs", config.repeats)
    return frame.assign(dtype=str(dtype).removeprefix("torch."), answers=len(answers))


def judge_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians over repeats: milliseconds an answer, cost per system prompt over plain, embedding judge's advantage."""
    rows = []
    for (dtype, name, n_pairs), group in frame.groupby(["dtype", "row", "n_pairs"], sort=False):
        row = {"dtype": dtype, "row": name, "n_pairs": n_pairs}
        row["ms an answer"] = 1000 * (group["wall"] / group["answers"]).median()
        for clock in ("wall", "processor") if n_pairs else ():
            times = group.set_index("repeat")[clock]
            plain, embedding = (_reference(frame, dtype, reference)[clock] for reference in (PLAIN, EMBEDDING))
            row[f"x plain a system prompt, {clock}"] = (times / plain / (2 * n_pairs)).median()
            row[f"x embedding judge, {clock}"] = (times / embedding).median()
        rows.append(row)
    return pd.DataFrame(rows)


def _reference(frame: pd.DataFrame, dtype: object, row: str) -> pd.DataFrame:
    return frame[(frame["dtype"] == dtype) & (frame["row"] == row)].set_index("repeat")


def api_facts(repeats: int) -> dict[str, float]:
    """The repeat of `api_row` with the median wall time."""
    rows = sorted((api_row() for _ in range(repeats)), key=lambda row: row["wall over ideal"])
    return rows[len(rows) // 2]
