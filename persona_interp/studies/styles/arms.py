"""What is compared when styles are steered: unsteered and prompted answers, every kind of vector, random directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Positive, Seed, SomeTuple, Temperature
from persona_interp.data.styles import StyleCorpus
from persona_interp.directions.baselines import matched_draws
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.directions.style_generated import style_request
from persona_interp.errors import HookpointError
from persona_interp.interventions.record import intervention_record, record
from persona_interp.interventions.residual import Add
from persona_interp.interventions.rows import AddEach
from persona_interp.io import sha256_json
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import render_prompt
from persona_interp.rollouts.generate import Rollouts, answer, plain_requests
from persona_interp.types import NO_EDITS, Edits, Hookpoint, Span

UNSTEERED, PROMPT, RANDOM = "unsteered", "prompt", "random"
SELECTION = "selection"
"""The prompts on which a coefficient is chosen; none of them evaluates."""


@checked
@dataclass(frozen=True)
class StyleSteering:
    """How answers are steered.

    Args:
        placements: blocks at whose output a vector is added, one or several at once.
        coefficients: in units of the mean residual norm of a token of the unsteered answers, the same for all vectors.
            Several blocks share a coefficient (`Add`), so that placements are compared at the same total.
        n_random: random directions with the covariance of the sentences. Every vector is ranked among them at the first
            placement and the largest coefficient, a place that no answer chose. 0: none.
    """

    placements: SomeTuple[SomeTuple[int]]
    coefficients: SomeTuple[Positive] = (0.1, 0.2)
    n_random: CountOrNone = 100
    n_samples: Count = 1
    max_new_tokens: Count = 40
    temperature: Temperature = 0.7
    span: Span = "response"
    seed: Seed = 0

    @property
    def tested(self) -> tuple[tuple[int, ...], float]:
        """The placement and the coefficient of the test against random directions."""
        return self.placements[0], max(self.coefficients)

    @property
    def sampling(self) -> Sampling:
        """How answers are drawn: common random numbers in all arms."""
        return Sampling(self.max_new_tokens, self.temperature, n_samples=self.n_samples, seed=self.seed)


@dataclass(frozen=True, eq=False)
class StyleArm:
    """One way of answering all prompts.

    Args:
        style: what it aims at; None for arms that serve all styles.
        description: of the style, where the prompt asks for it.
    """

    method: str
    style: str | None = None
    layers: tuple[int, ...] = ()
    coefficient: float = 0.0
    intervention: Add | None = None
    description: str | None = None

    @property
    def name(self) -> str:
        """Of the arm's folder."""
        where = f"_{'+'.join(map(str, self.layers))}_{self.coefficient:g}" if self.layers else ""
        return f"{self.style or 'all'}/{self.method.replace(' ', '-')}{where}"


def style_arms(
    corpus: StyleCorpus,
    vectors: Mapping[str, Mapping[str, Direction]],
    settings: StyleSteering,
) -> list[StyleArm]:
    """Of every style its prompt and its vectors; neither the unsteered arm nor random directions are among them.

    Args:
        vectors: style -> method -> direction, all in the same units.
    """
    arms: list[StyleArm] = []
    for style, of_style in vectors.items():
        arms.append(StyleArm(PROMPT, style, description=corpus.descriptions[style]))
        arms += [
            StyleArm(method, style, layers, c, Add(direction, layers, c, span=settings.span))
            for method, direction in of_style.items()
            for layers in settings.placements
            for c in settings.coefficients
        ]
    return arms


def answer_arm(
    model: HookedModel,
    arm: StyleArm,
    prompts: Mapping[str, Sequence[str]],
    settings: StyleSteering,
    *,
    folder: Path | None,
    label: str,
    progress: bool,
) -> Rollouts:
    """An arm's answers to all prompts, with a column `prompts` that names their set.

    Unsteered answers bring their residual norms. The column question is what was asked without the words that ask for
    a style.
    """
    questions = [question for of_set in prompts.values() for question in of_set]
    requests = plain_requests(questions)
    if arm.description is not None:
        asked = [style_request(question, arm.description) for question in questions]
        requests = requests.assign(prompt=[render_prompt(model.tokenizer, text) for text in asked])
    add = arm.intervention
    if add is not None:
        add.check(model)
    made = answer(
        model,
        requests,
        sampling=settings.sampling,
        trait=arm.name,
        edits=NO_EDITS if add is None else add.edits,
        edits_hash=None if add is None else sha256_json(intervention_record(add))[:16],
        pool=("response_mean",) if arm.method == UNSTEERED else (),
        folder=None if folder is None else folder / arm.name,
        label=label,
        progress=progress,
    )
    sets = [name for name, of_set in prompts.items() for _ in of_set for _ in range(settings.n_samples)]
    return made.with_columns(prompts=np.array(sets, dtype=object))


def answer_random(
    model: HookedModel,
    directions: Sequence[Direction],
    prompts: Mapping[str, Sequence[str]],
    settings: StyleSteering,
    *,
    folder: Path | None,
    progress: bool,
) -> pd.DataFrame:
    """Answers along every random direction at the place of the test, in batches with a direction a row.

    An answer is the one that `answer_arm` gives along that direction alone: all share their random numbers. The
    columns are those of `arm_columns` and prompts, question, sample, answer.
    """
    layers, coefficient = settings.tested
    questions = [question for of_set in prompts.values() for question in of_set]
    sets = [name for name, of_set in prompts.items() for _ in of_set]
    plain = plain_requests(questions)
    requests = pd.concat([plain.assign(instruction=k) for k in range(len(directions))], ignore_index=True)

    def edits(rows: pd.DataFrame) -> Edits:
        chosen = [directions[k] for k in rows["instruction"]]
        return AddEach(chosen, layers, coefficient, span=settings.span).edits

    what = sha256_json([[record(d) for d in directions], layers, coefficient, settings.span])[:16]
    made = answer(
        model,
        requests,
        sampling=settings.sampling,
        trait=RANDOM,
        edits=edits,
        edits_hash=what,
        folder=None if folder is None else folder / RANDOM,
        label=f"answers along {len(directions)} random directions",
        progress=progress,
    )
    names = np.repeat(np.array(sets * len(directions), dtype=object), settings.n_samples)
    return made.frame[["question", "sample", "answer"]].assign(
        prompts=names,
        method=[f"{RANDOM} {k}" for k in made.frame["instruction"]],
        layers="+".join(map(str, layers)),
        coefficient=coefficient,
    )


def answer_norms(unsteered: Rollouts) -> Float[Tensor, " layer"]:
    """Mean residual norm of a token of the unsteered answers, at the output of every block: the unit of all arms."""
    norms = unsteered.activations("response_mean").norms
    assert norms is not None, "rollouts record norms"
    return norms.nanmean(0)


def in_units(direction: Direction, norms: Float[Tensor, " block"], model: HookedModel) -> Direction:
    """The same vectors, in units of these residual norms of all blocks.

    Raises:
        IncompatibleDirectionError: it belongs to another model.
    """
    check_direction(direction, model)
    rows = [h.layer for h in direction.hookpoints]
    return replace(direction, residual_norms=norms[rows].clone())


def random_style_directions(activations: Activations, layers: Sequence[int], *, n: int, seed: int) -> list[Direction]:
    """Draws with the shrunken covariance of the sentences within styles, with the same weights at every layer.

    They point where the model's states vary anyway, not from style to style; their lengths mean nothing.
    """
    hookpoints, styles = tuple(Hookpoint(layer) for layer in layers), activations.samples["style"].to_numpy(str)
    of_layers = [activations.values[:, activations.hookpoints.index(hookpoint)] for hookpoint in hookpoints]
    drawn = [matched_draws(values, n, seed=seed, poles=styles) for values in of_layers]
    provenance = activations.provenance.derive(RANDOM, 1, pooling=activations.pooling, null_seed=seed)
    return [
        Direction(torch.stack([rows[k] for rows in drawn]), hookpoints, RANDOM, RANDOM, f"random {k}", provenance)
        for k in range(n)
    ]


def layers_of(settings: StyleSteering) -> tuple[int, ...]:
    """Every block of every placement, in order."""
    return tuple(sorted({layer for layers in settings.placements for layer in layers}))


def check_layers(settings: StyleSteering, model: HookedModel) -> None:
    """Refuse blocks that the model does not have, before anything is computed.

    Raises:
        HookpointError: says which there are.
    """
    wrong = [layer for layer in layers_of(settings) if not 0 <= layer < model.n_layers]
    if wrong:
        raise HookpointError(
            f"cannot steer at layer {wrong[0]} of {model.name}.", f"Layers run 0..{model.n_layers - 1}."
        )


def arm_columns(arm: StyleArm) -> dict[str, Any]:
    """What an answer's row says of its arm."""
    return {"method": arm.method, "layers": "+".join(map(str, arm.layers)), "coefficient": arm.coefficient}


def is_random(methods: pd.Series) -> pd.Series:
    """Which arms are random directions."""
    return methods.str.fullmatch(rf"{RANDOM} \d+")
