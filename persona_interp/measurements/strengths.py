"""Coefficients that have one effect at every layer: `strength_for_kl` of a direction, kept in a folder."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, Some, Text
from persona_interp.data.neutral_prompts import neutral_prompts
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.errors import ConfigError, PersonaInterpError
from persona_interp.identity import of_model, of_package
from persona_interp.interventions.divergence import ANSWER_TOKENS, UnsteeredAnswers, unsteered_answers
from persona_interp.interventions.record import record
from persona_interp.interventions.residual import Add
from persona_interp.interventions.strength import START, KLTargets, strength_for_kl
from persona_interp.lock import alone_in
from persona_interp.models.protocol import HookedModel
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.tables import Form, kept_table, numbers, texts, truths, wholes
from persona_interp.types import Span

METHOD_VERSION = 1
"""Raised where the same inputs come to give other coefficients."""
STRENGTHS = Form(
    "strengths",
    (
        *texts("trait", filled=True), *wholes("layer"), *numbers("kl", unit="nats"),
        *numbers("coefficient", unit="mean residual norms"), *numbers("mean low high median p95", unit="nats"),
        *wholes("n_tokens n_prompts n_passes"), *truths("monotone"),
    ),
)  # fmt: skip
"""A row a layer and target: `kl` is the target, mean to p95 what was reached."""


@checked
@alone_in("folder")
def strength_table(
    model: HookedModel,
    direction: Direction,
    targets: KLTargets,
    *,
    layers: Some[int],
    span: Span = "response",
    prompts: Some[Text] | None = None,
    max_new_tokens: Count = ANSWER_TOKENS,
    answers: UnsteeredAnswers | None = None,
    seed: Seed = 0,
    folder: Path | None = None,
    answers_folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The coefficient of `Add` at each layer and target (`strength_for_kl`), with the KL that it reaches; `STRENGTHS`.

    Every layer starts from what the one before it came to. With a folder a layer is kept as it is done, and the same
    call goes on where it stopped.

    Args:
        prompts: that the unsteered model answers in at most `max_new_tokens`; default: the package's neutral ones.
        answers: of `unsteered_answers`, in their place; not with a folder, which could not tell whose they are.
        answers_folder: where the answers are kept, for several directions to share; default: in the folder.

    Raises:
        ConfigError: answers and a folder, or a folder of another configuration.
        EmptySelectionError: a target cannot be reached at a layer, which is named.
        IncompatibleDirectionError: the direction belongs to another model.
    """
    check_direction(direction, model)
    if folder is not None:
        if answers is not None:
            raise ConfigError("got answers and a folder, which could not tell whose answers they are.", "Give prompts.")
        inputs = {"model": of_model(model), "direction": record(direction), "targets": targets.targets, "span": span}
        asked = {
            "layers": list(layers),
            "prompts": prompts or neutral_prompts(),
            "max_new_tokens": max_new_tokens,
            "seed": seed,
        }
        refuse_other_config(folder / "config.json", {**inputs, **asked, **of_package(METHOD_VERSION)})
    start, tables = START, []
    for layer in layers:

        def solve(layer: int = layer, start: float = start) -> pd.DataFrame:
            nonlocal answers
            if answers is None:
                home = answers_folder or (None if folder is None else folder / "answers")
                answers = unsteered_answers(
                    model, prompts, max_new_tokens=max_new_tokens, seed=seed, folder=home, progress=progress
                )
            return _solved(model, direction, targets, layer, span, answers, start, seed)

        table = solve() if folder is None else kept_table(folder / f"layer-{layer:02d}.parquet", solve, STRENGTHS)
        start = abs(float(table["coefficient"].to_numpy()[np.argmin(table["kl"].abs())]))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def coefficients_by_layer(table: pd.DataFrame) -> dict[int, tuple[float, ...]]:
    """The coefficients of every layer of a table of strengths, in its order."""
    return {int(layer): tuple(rows["coefficient"]) for layer, rows in table.groupby("layer", sort=False)}  # pyright: ignore


def with_targets(answers: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The answers with a column `kl`: the target that their coefficient was found for; missing where it is of none."""
    found = {(int(row.layer), float(row.coefficient)): float(row.kl) for row in table.itertuples()}  # pyright: ignore
    places = zip(answers["layer"].fillna(-1).astype(int), answers["coefficient"], strict=True)
    return answers.assign(kl=[found.get((layer, coefficient), np.nan) for layer, coefficient in places])


def _solved(
    model: HookedModel,
    direction: Direction,
    targets: KLTargets,
    layer: int,
    span: Span,
    answers: UnsteeredAnswers,
    start: float,
    seed: int,
) -> pd.DataFrame:
    """The rows of one layer."""
    try:
        found = strength_for_kl(
            model,
            lambda coefficient: Add(direction, layer, coefficient, span=span),
            targets,
            answers=answers,
            start=start,
            seed=seed,
        )
    except PersonaInterpError as error:
        what, *advice = str(error).splitlines()
        raise type(error)(f"{direction.trait} at layer {layer}: {what}", *map(str.strip, advice)) from error
    rows = [
        {
            "trait": direction.trait,
            "layer": layer,
            "kl": strength.target,
            "coefficient": strength.coefficient,
            **asdict(strength.divergence),
            "n_passes": strength.n_passes,
            "monotone": strength.monotone,
        }
        for strength in found
    ]
    return STRENGTHS.checked(pd.DataFrame(rows))
