"""What attributing a projection to every head and neuron costs, against one pass that pools the residual stream.

200 answers of an early and a late part of the model, one direction; both ways take turns within a repeat.
"""

import statistics
import time
from dataclasses import dataclass

import pandas as pd

from persona_interp.activations.extract import extract_activations
from persona_interp.data.traits import load_trait
from persona_interp.directions.attribution import attribute_projection
from persona_interp.directions.persona import persona_vector
from persona_interp.models.load import load_model
from persona_interp.rollouts.generate import generate_rollouts

EXTRACT, HALF, ALL = "extract activations", "attribution, half of the blocks", "attribution, all blocks"


@dataclass(frozen=True)
class AttributionConfig:
    """What is timed."""

    model: str = "smollm2-135m-instruct"
    n_answers: int = 200
    new_tokens: int = 24
    repeats: int = 3


def attribution_rows(config: AttributionConfig) -> pd.DataFrame:
    """One row a repeat and way: seconds, and the largest error of a sum over the residual norm."""
    model = load_model(config.model)
    trait = load_trait("impolite")
    made = generate_rollouts(
        model, trait, n_questions=20, n_instructions=5, max_new_tokens=config.new_tokens, progress=False
    )
    vector = persona_vector(made, filter="none")
    frame = made.frame[made.frame["response_ids"].map(len) > 0].head(config.n_answers)
    texts = list(frame["prompt"]), list(frame["response_ids"])
    layers = {HALF: model.n_layers // 2 - 1, ALL: model.n_layers - 1}
    rows = []
    for repeat in range(config.repeats):
        for way in (EXTRACT, HALF, ALL):
            start, error = time.perf_counter(), float("nan")
            if way == EXTRACT:
                extract_activations(model, *texts, progress=False)
            else:
                found = attribute_projection(model, vector, layers[way], *texts, progress=False)
                error = float(found.error.abs().max()) / found.residual_norm
            rows.append({"repeat": repeat, "row": way, "seconds": time.perf_counter() - start, "error": error})
    return pd.DataFrame(rows).assign(n_answers=len(frame), n_tokens=int(frame["response_ids"].map(len).sum()))


def attribution_summary(raw: pd.DataFrame) -> pd.DataFrame:
    """Median seconds of each way, and its ratio to extraction within a repeat."""
    seconds = raw.pivot(index="repeat", columns="row", values="seconds")
    return pd.DataFrame(
        [
            {
                "row": way,
                "seconds": statistics.median(seconds[way]),
                "ratio to extraction": statistics.median(seconds[way] / seconds[EXTRACT]),
                "error": raw.loc[raw["row"] == way, "error"].max(),
                "n_answers": int(raw["n_answers"].iloc[0]),
            }
            for way in (EXTRACT, HALF, ALL)
        ]
    )
