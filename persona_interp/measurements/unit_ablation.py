"""Ablating neurons or heads against as many random ones: answers, a set of units a row, in the same batches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Size, Some
from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError
from persona_interp.interventions.record import record
from persona_interp.interventions.units import AblateEach, UnitReference, Units
from persona_interp.io import sha256_json
from persona_interp.measurements.roles import NULL, TREATMENT, UNSTEERED
from persona_interp.models.components import UnitKind, n_units
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.rollouts.generate import EditsOf, answer
from persona_interp.types import NO_EDITS, Edits


@checked
def answer_by_set(
    model: HookedModel,
    trait: Trait,
    sets: Some[Units],
    questions: Some[str],
    *,
    reference: UnitReference | None = None,
    n_instructions: Count = 1,
    max_new_tokens: Count = 24,
    batch_size: Size = 128,
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Greedy answers under the trait's positive system prompts, whole and without each set of units.

    Columns: role, draw, question, instruction, answer. The first set is the treatment (draw -1), the others are its
    null (draw 0, 1, ...); rows with role "unsteered" have nothing ablated.

    Args:
        reference: units are set to its mean; None: to zero.
        n_instructions: positive system prompts, from the first.
        folder: where finished batches are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: a unit does not exist.
    """
    AblateEach(list(sets), reference).check(model)
    asked = pd.DataFrame(
        [
            {"side": "positive", "instruction": i, "question": question, "system": system}
            for i, system in enumerate(trait.system_prompts("positive")[:n_instructions])
            for question in questions
        ]
    )
    requests = pd.concat([asked.assign(draw=k) for k in range(len(sets))], ignore_index=True)

    def edits(rows: pd.DataFrame) -> Edits:
        return AblateEach([sets[k] for k in rows["draw"]], reference).edits

    what = sha256_json([[record(one) for one in sets], record(reference)])[:16]

    def answered(name: str, rows: pd.DataFrame, edits: EditsOf | Edits, edits_hash: str | None) -> pd.DataFrame:
        made = answer(
            model,
            rows,
            sampling=Sampling(max_new_tokens, temperature=0.0),
            trait=trait.name,
            trait_hash=trait.data_hash,
            edits=edits,
            edits_hash=edits_hash,
            batch_size=batch_size,
            folder=None if folder is None else folder / name,
            label=f"{trait.name}: {name}, {len(rows)} answers",
            progress=progress,
        )
        return made.frame[["draw", "question", "instruction", "answer"]]

    ablated = answered("ablated", requests, edits, what)
    ablated = ablated.assign(role=np.where(ablated["draw"] == 0, TREATMENT, NULL), draw=ablated["draw"] - 1)
    whole = answered("whole", asked.assign(draw=-1), NO_EDITS, None)
    return pd.concat([whole.assign(role=UNSTEERED), ablated], ignore_index=True)


@checked
def set_effects(scored: pd.DataFrame, judge: str) -> pd.DataFrame:
    """A row a set: role, draw, effect (mean change of expression against whole answers), se over questions, n."""
    keys = ["question", "instruction"]
    whole = scored[scored["role"] == UNSTEERED].set_index(keys)[judge]
    ablated = scored[scored["role"] != UNSTEERED]
    change = ablated[judge].to_numpy(float) - whole.reindex(pd.MultiIndex.from_frame(ablated[keys])).to_numpy(float)
    by_question = ablated.assign(change=change).groupby(["role", "draw", "question"], sort=False)["change"].mean()
    grouped = by_question.groupby(["role", "draw"], sort=False)
    frame = grouped.agg(effect="mean", se="sem", n_questions="count").reset_index()
    return frame.sort_values("draw", ignore_index=True)


def check_enough_units(model: HookedModelBase, kind: UnitKind, layer: int, n: int) -> None:
    """Refuse to compare n units of the blocks up to a layer with as many others where there are fewer.

    Raises:
        ConfigError: names how many there are.
        HookpointError: the layer does not exist, or a block has experts in the place of an MLP.
    """
    total = sum(n_units(model, block, kind) for block in range(layer + 1))
    if 2 * n > total:
        raise ConfigError(
            f"{n} {kind}s cannot be compared with as many others: {model.name} has {total} up to layer {layer}.",
            f"Ask for at most {total // 2}.",
        )


def changes_of(scored: pd.DataFrame, judge: str) -> tuple[np.ndarray, np.ndarray]:
    """Change of expression of every answer without the first set, and its question."""
    keys = ["question", "instruction"]
    whole = scored[scored["role"] == UNSTEERED].set_index(keys)[judge]
    own = scored[scored["role"] == TREATMENT].set_index(keys)[judge]
    change = (own - whole).dropna()
    return change.to_numpy(float), change.index.get_level_values("question").to_numpy(object).astype(str)


def unit_sizes(values: Sequence[np.ndarray], norms: Sequence[np.ndarray]) -> np.ndarray:
    """Norm of what every unit typically writes: root mean square of its activation times the norm of its row.

    Args:
        values: pooled activations a layer, sample by unit; norms: of the rows of W_out, a layer.
    """
    pairs = zip(values, norms, strict=True)
    return np.stack([np.sqrt((activations**2).mean(0)) * written for activations, written in pairs])
