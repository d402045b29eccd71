"""What steering along many random directions costs: a direction a row in shared batches, against one after the other.

Both ways take turns within a repeat and give the same greedy answers; the ratio of a repeat is taken before the median.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch

from persona_interp.data.traits import load_trait
from persona_interp.directions.direction import Direction
from persona_interp.measurements.roles import UNSTEERED
from persona_interp.measurements.steering import steered_answers
from persona_interp.measurements.steering_null import answer_by_direction
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.types import Hookpoint

TOGETHER, ONE_BY_ONE = "a direction a row", "one direction after the other"


@dataclass(frozen=True)
class DirectionsConfig:
    """What is timed."""

    model: str = "smollm2-135m-instruct"
    n_directions: int = 40
    n_questions: int = 20
    new_tokens: int = 16
    coefficient: float = 0.15
    repeats: int = 3


def directions_rows(config: DirectionsConfig) -> pd.DataFrame:
    """One row a repeat and way: seconds, and answers given."""
    model = load_model(config.model)
    layer, questions = model.n_layers // 2, load_trait("impolite").eval_questions[: config.n_questions]
    own, *random = _directions(model, layer, config.n_directions)

    def together() -> list[str]:
        made = answer_by_direction(
            model,
            own,
            random,
            questions,
            layer=layer,
            coefficient=config.coefficient,
            max_new_tokens=config.new_tokens,
            progress=False,
        )
        return list(made.loc[made["role"] != UNSTEERED, "answer"])

    def one_by_one() -> list[str]:
        options = {"layers": [layer], "coefficients": [config.coefficient], "max_new_tokens": config.new_tokens}
        return [
            text
            for one in (own, *random)
            for text in steered_answers(
                model, one, questions, **options, temperature=0.0, unsteered=False, progress=False
            )["answer"]
        ]

    ways: dict[str, Callable[[], list[str]]] = {TOGETHER: together, ONE_BY_ONE: one_by_one}
    rows = []
    for repeat in range(config.repeats):
        answers = {}
        for name in sorted(ways, reverse=repeat % 2 == 1):
            start = time.perf_counter()
            answers[name] = ways[name]()
            rows.append({"repeat": repeat, "row": name, "seconds": time.perf_counter() - start})
        same = sum(a == b for a, b in zip(*answers.values(), strict=True)) / len(answers[TOGETHER])
        rows[-1]["same_answers"] = rows[-2]["same_answers"] = same
    return pd.DataFrame(rows).assign(n_answers=len(questions) * (1 + len(random)))


def directions_summary(raw: pd.DataFrame) -> pd.DataFrame:
    """Median over repeats of the time of one after the other, over that of a direction a row."""
    wide = raw.pivot(index="repeat", columns="row", values="seconds")
    ratios = (wide[ONE_BY_ONE] / wide[TOGETHER]).tolist()
    numbers = {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return pd.DataFrame([{"row": f"{ONE_BY_ONE} / {TOGETHER}", **numbers, "same_answers": raw["same_answers"].min()}])


def _directions(model: HookedModelBase, layer: int, n: int) -> list[Direction]:
    generator = torch.Generator().manual_seed(0)
    norms = torch.tensor([20.0])
    return [
        Direction(
            torch.randn(1, model.d_model, generator=generator),
            (Hookpoint(layer),),
            "random",
            "random",
            f"random direction {k}",
            model.provenance,
            norms,
        )
        for k in range(n + 1)
    ]
