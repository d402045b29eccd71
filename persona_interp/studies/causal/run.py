"""The layers of a model in a folder: where a trait is decodable, steerable, necessary, sufficient and mediated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from persona_interp.activations.store import Activations
from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.data.traits import Trait
from persona_interp.directions.baselines import random_directions
from persona_interp.directions.direction import Direction
from persona_interp.directions.persona import persona_vector
from persona_interp.errors import EmptySelectionError
from persona_interp.identity import of_judges, of_model, of_package
from persona_interp.interventions.divergence import UnsteeredAnswers, unsteered_answers
from persona_interp.interventions.residual import Add
from persona_interp.interventions.strength import kl, strength_for_kl
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.measurements.judge_validity import known_validity
from persona_interp.measurements.preference import answer_pairs, parts_of
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.progress import track
from persona_interp.rollouts.generate import Rollouts, generate_rollouts
from persona_interp.studies.causal.answers import judged_answers
from persona_interp.studies.causal.config import CausalRun
from persona_interp.studies.causal.effects import STUDY, causal_effects
from persona_interp.studies.causal.found import Panel, decode, summarise
from persona_interp.studies.causal.panel import panel_of
from persona_interp.studies.causal.plan import causal_plan
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.plan import say_plan
from persona_interp.studies.sizes import Sizes, named_effort
from persona_interp.types import Hookpoint

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
KEEPS = (f"cells/{STUDY}/*", "rollouts/*", "answers/*")
TOLERANCE = 0.1
"""Share of the target that the KL of an added direction may be away from it."""


@dataclass(frozen=True, eq=False)
class CausalResult:
    """What was found.

    Args:
        answers: a row a judged answer; `headline` is the judge that heads them.
        coefficients: of adding the direction, by scope and layer, in mean residual norms.
    """

    panel: Panel
    direction: Direction
    answers: pd.DataFrame
    judges: tuple[str, ...]
    headline: str
    coefficients: Mapping[tuple[str, int], float]
    reached: Mapping[tuple[str, int], float]


@checked
@alone_in("out")
def causal_panel(
    model: HookedModelBase,
    trait: Trait,
    judges: Some[Judge],
    run: CausalRun,
    *,
    out: Path,
    sizes: Sizes | None = None,
    progress: bool = True,
) -> CausalResult:
    """Where a trait's direction can be read and where it acts, layer by layer: effects and claims in `out`.

    The direction comes from answers to extraction questions. Its effects are on the preference of the model for answers
    that it gave to evaluation questions under the trait's prompts over those under the opposite ones, nats a token:
    added at a matched KL divergence, ablated under the trait's prompt, patched from the trait's prompt into the
    opposite one and back, each beside random directions; and on answers that judges rate.

    Args:
        sizes: by what name they are called, for the report, which says what was cut.

    Raises:
        ConfigError: `out` holds results of another configuration.
        EmptySelectionError: no question has answers on both sides, or no coefficient reaches the KL.
    """
    rating = [judge for judge in judges if judge.unable(trait) is None]
    identity = {
        "model": of_model(model),
        "trait": [trait.name, trait.data_hash],
        "judges": of_judges(rating),
        **run.to_dict(),
        **of_package(METHOD_VERSION),
    }
    folder = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    if progress:
        title = f"layers of {trait.name} on {model.name}{named_effort(sizes)}"
        say_plan(title, causal_plan(run, model), model, folder=out, study=STUDY)
    known = known_validity(rating, [trait], out)[trait.name]
    headline = max(rating, key=lambda judge: known.get(judge.name, 0.0)).name
    made, held_out = (_rollouts(model, trait, run, which, out, progress) for which in ("extract", "eval"))
    direction = persona_vector(made, filter="none")
    direction.save(out / "vectors" / f"{trait.name}.safetensors")
    layers = run.layers(model.n_layers)
    answers = unsteered_answers(model, seed=run.seed, folder=out / "rollouts" / "neutral", progress=progress)
    strengths = _strengths(model, direction, layers, run, answers, folder, progress)
    coefficients = {(str(row.scope), int(row.layer)): float(row.coefficient) for row in strengths.itertuples()}  # pyright: ignore
    reached = {(str(row.scope), int(row.layer)): float(row.kl) for row in strengths.itertuples()}  # pyright: ignore
    random = _random(model, direction, made, layers, coefficients, run, answers, folder, progress)
    parts = parts_of(model, answer_pairs(model, held_out.frame))
    tables = [
        folder.cell(
            f"panel {k}",
            ["panel", k],
            lambda part=part: panel_of(model, part, direction, layers, coefficients, random, cumulative=run.cumulative),
        )
        for k, part in enumerate(track(parts, f"{trait.name}: panel", total=len(parts), show=progress))
    ]
    panel = summarise(pd.concat(tables, ignore_index=True), _decoded(held_out, direction, layers), seed=run.seed)
    at_layers = {layer: coefficients["layer", layer] for layer in layers}
    judged = folder.cell(
        "judged answers",
        ["judged"],
        lambda: judged_answers(
            model, trait, rating, direction, at_layers, run, folder=out / "answers", progress=progress
        ),
    )
    names = tuple(judge.name for judge in rating)
    result = CausalResult(panel, direction, judged, names, headline, coefficients, reached)
    effects, claims = causal_effects(result, trait.name, n_layers=model.n_layers, known=known, run=run)
    folder.finish(model, _provenance(model, trait, run, result, known, sizes), effects, claims, seed=run.seed)
    return result


def _rollouts(model: HookedModelBase, trait: Trait, run: CausalRun, which: Any, out: Path, progress: bool) -> Rollouts:
    return generate_rollouts(
        model,
        trait,
        n_questions=run.n_questions if which == "extract" else run.n_eval,
        n_instructions=run.n_instructions,
        max_new_tokens=run.max_new_tokens,
        seed=run.seed,
        questions=which,
        pool=("response_mean",),
        folder=out / "rollouts" / f"{trait.name}-{which}",
        progress=progress,
    )


def _strengths(
    model: HookedModelBase,
    direction: Direction,
    layers: Sequence[int],
    run: CausalRun,
    answers: UnsteeredAnswers,
    folder: RunFolder,
    progress: bool,
) -> pd.DataFrame:
    """Coefficients at which the direction is added: scope, layer, coefficient, kl reached."""

    def solve(scope: str, layer: int) -> pd.DataFrame:
        places = layer if scope == "layer" else tuple(range(layer + 1))
        (found,) = strength_for_kl(
            model, lambda c: Add(direction, places, c), kl(run.kl), answers=answers, tolerance=TOLERANCE, seed=run.seed
        )
        row = {"scope": scope, "layer": layer, "coefficient": found.coefficient, "kl": found.divergence.mean}
        return pd.DataFrame([row])

    wanted = [(scope, layer) for scope in ("layer", *(["cumulative"] * run.cumulative)) for layer in layers]
    return pd.concat(
        [
            folder.cell(f"strength {scope} {layer}", ["strength"], lambda at=(scope, layer): solve(*at))
            for scope, layer in track(wanted, "strengths", total=len(wanted), show=progress)
        ],
        ignore_index=True,
    )


def _random(
    model: HookedModelBase,
    direction: Direction,
    made: Rollouts,
    layers: Sequence[int],
    coefficients: Mapping[tuple[str, int], float],
    run: CausalRun,
    answers: UnsteeredAnswers,
    folder: RunFolder,
    progress: bool,
) -> dict[int, list[tuple[Direction, float]]]:
    """Random directions of every layer, turned to the trait's side, each with the coefficient of the same KL."""
    if not run.n_random:
        return {layer: [] for layer in layers}
    activations = _finite(made)
    poles = (activations.samples["side"] == "positive").to_numpy()
    found = {}
    for layer in track(layers, "random directions", total=len(layers), show=progress):
        drawn = [
            one if float(one.at(layer) @ direction.at(layer)) >= 0 else -one
            for one in random_directions(
                activations, Hookpoint(layer), like=direction, n=run.n_random, seed=run.seed, poles=poles
            )
        ]

        def solve(layer: int = layer, drawn: list[Direction] = drawn) -> pd.DataFrame:
            start = coefficients["layer", layer]
            return pd.DataFrame(
                {"coefficient": [_coefficient(model, one, layer, start, run, answers) for one in drawn]}
            )

        solved = folder.cell(f"random strengths {layer}", ["random strengths"], solve)
        found[layer] = list(zip(drawn, solved["coefficient"].astype(float), strict=True))
    return found


def _coefficient(
    model: HookedModelBase,
    direction: Direction,
    layer: int,
    start: float,
    run: CausalRun,
    answers: UnsteeredAnswers,
) -> float:
    (found,) = strength_for_kl(
        model,
        lambda c: Add(direction, layer, c),
        kl(run.kl),
        answers=answers,
        start=start,
        tolerance=TOLERANCE,
        seed=run.seed,
    )
    return found.coefficient


def _finite(made: Rollouts) -> Activations:
    activations = made.activations("response_mean")
    return activations.select(activations.values.isfinite().flatten(1).all(1).numpy())


def _decoded(held_out: Rollouts, direction: Direction, layers: tuple[int, ...]) -> dict:
    activations = _finite(held_out)
    positive = (activations.samples["side"] == "positive").to_numpy()
    if not positive.any() or positive.all():
        raise EmptySelectionError(
            "held-out answers have one side alone.", "Make longer answers, or ask more questions."
        )
    return decode(
        activations.values.numpy(),
        direction.unit().vectors.numpy(),
        positive,
        activations.samples["question"].to_numpy(object).astype(str),
        layers,
    )


def _provenance(
    model: HookedModelBase,
    trait: Trait,
    run: CausalRun,
    result: CausalResult,
    known: Mapping[str, float],
    sizes: Sizes | None,
) -> dict[str, Any]:
    return {
        "model": model.provenance.to_dict(),
        "trait": {"name": trait.name, "hash": trait.data_hash},
        "run": run.to_dict(),
        "layers": list(result.panel.layers),
        "headline_judge": result.headline,
        "judge_validity": dict(known),
        "versions": library_versions(),
        **({} if sizes is None else {"size": sizes.record()}),
    }
