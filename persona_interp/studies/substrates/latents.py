"""A trait in a dictionary: its direction as a sum of decoder vectors, and top latents steered beside random ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.data.neutral_texts import load_neutral_texts
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.directions.sae.contexts import contexts_frame, top_contexts
from persona_interp.directions.sae.decompose import OWN, RANDOM, decompose, decomposition_null
from persona_interp.directions.sae.decomposition import Method, SAEDecomposition
from persona_interp.directions.sae.dictionary import Dictionary, with_quality
from persona_interp.directions.sae.latents import latent_direction, latents_of_equal_density, mean_latents
from persona_interp.directions.sae.measure import measure_dictionary
from persona_interp.directions.sae.quality import load_quality
from persona_interp.errors import ConfigError, EmptySelectionError
from persona_interp.io import manifest_path
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.roles import NULL, TREATMENT, UNSTEERED
from persona_interp.measurements.steering_null import answer_by_direction, rate_by_direction
from persona_interp.models.hooked import HookedModelBase
from persona_interp.statistics.means import bootstrap_difference, bootstrap_mean
from persona_interp.statistics.permutation import permutation_test_two_samples
from persona_interp.statistics.resampling import Interval
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.studies.substrates.found import Halves
from persona_interp.tables import Column, Form, numbers, truths, wholes

METHODS: tuple[Method, ...] = ("cosine", "latent_difference", "pursuit")
VECTOR, TOP, RANDOM_LATENT = "persona vector", "top latent", "random latent"
N_CONTEXTS = 3
CONTEXTS = Form(
    "latent_contexts",
    (
        *wholes("latent rank text position"),
        Column("token", "text", filled=True),
        *numbers("activation"),
        *truths("is_peak"),
    ),
)
"""Where in texts the top latents are largest, a row a token."""
_N_CURVE = 32


@dataclass(frozen=True, eq=False)
class Latents:
    """What a dictionary says of a direction.

    Args:
        decompositions: by method.
        curves: fvu over the number of latents: method, n_latents, fvu, and the bands and p of both nulls.
        scored: answers along the persona vector, the top latents and the random ones, and a column a judge.
        contexts: where in texts the top latents are largest, a row a token.
    """

    dictionary: Dictionary
    decompositions: dict[str, SAEDecomposition]
    curves: pd.DataFrame
    scored: pd.DataFrame
    contexts: pd.DataFrame

    @property
    def record(self) -> dict[str, Any]:
        """What provenance says of it."""
        dictionary = self.dictionary
        quality = None if dictionary.quality is None else dictionary.quality.card()
        return {"id": dictionary.id, "weights": dictionary.weights, "name": dictionary.name, "quality": quality}


def find_latents(
    model: HookedModelBase,
    trait: Trait,
    judges: Sequence[Judge],
    direction: Direction,
    dictionary: Dictionary,
    halves: Halves,
    run: SubstratesRun,
    folder: RunFolder,
    *,
    out: Path,
    progress: bool,
) -> Latents:
    """Decomposition, steering and contexts, each kept; decompositions are saved in `out`/decompositions."""
    made, curves = decompose_direction(model, direction, dictionary, halves, run, progress=progress)
    for method, decomposition in made.items():
        decomposition.save(out / "decompositions" / f"{direction.trait}_{method}.safetensors")
    top = list(made["cosine"].latents[: run.n_latents])
    assert dictionary.quality is not None, "measured before"
    density = dictionary.quality.density
    top = [latent for latent in top if density[latent] > 0]
    if not top:
        raise EmptySelectionError(
            f"none of the {run.n_latents} latents of {dictionary.id} nearest to {trait.name} fires on the texts of its"
            " quality card.",
            "Use a dictionary with fewer dead latents.",
        )
    scored = folder.cell(
        "latents",
        ["latents", top],
        lambda: steered_latents(
            model, trait, judges, direction, dictionary, top, run, folder=out / "answers" / "latents", progress=progress
        ),
    )
    contexts = folder.cell(
        "contexts",
        ["contexts", top],
        lambda: contexts_of(model, dictionary, top, halves, progress=progress),
    )
    folder.save(CONTEXTS, contexts)
    return Latents(dictionary, made, curves, scored, contexts)


def check_dictionary_fits(dictionary: Dictionary, layer: int | None) -> None:
    """Refuse a dictionary of another stream than the residual one, or of another layer than was asked for.

    Raises:
        ConfigError: it reads or writes elsewhere.
    """
    if layer is not None and layer != dictionary.writes.layer:
        raise ConfigError(f"layer must be that of the dictionary, {dictionary.writes.layer}, got {layer}.")
    for place in (dictionary.hookpoint, dictionary.writes):
        if place.stream != "resid_post":
            raise ConfigError(
                f"{dictionary.id} is of {place}; substrates needs a dictionary of resid_post.",
                "Train one: persona-interp sae --layer L --out FOLDER.",
            )


def with_known_quality(
    model: HookedModelBase, dictionary: Dictionary, folder: RunFolder, *, progress: bool
) -> Dictionary:
    """The dictionary with its quality: its own card, or as measured here on neutral texts, once."""
    if dictionary.quality is not None:
        return dictionary
    path = folder.path / "cells" / folder.study / f"quality-{dictionary.weights}.safetensors"
    if not manifest_path(path).is_file():
        data = {"texts": "neutral texts of this package"}
        measure_dictionary(model, dictionary, load_neutral_texts(), data=data, progress=progress).save(path)
    return with_quality(dictionary, load_quality(path))


def check_enough_latents(dictionary: Dictionary, run: SubstratesRun) -> None:
    """Refuse to steer more latents than there are, or to compare them with more others than fire.

    Raises:
        EmptySelectionError: there are fewer.
    """
    assert dictionary.quality is not None, "measured before"
    n, firing = dictionary.n_latents, int((dictionary.quality.density > 0).sum())
    if run.n_latents > n or run.n_latents + run.n_random_latents > firing:
        raise EmptySelectionError(
            f"{run.n_latents} latents and {run.n_random_latents} random ones cannot be steered: {dictionary.id} has"
            f" {n} latents, {firing} of which fire on the texts of its quality card.",
            "Take a smaller --effort (n_latents, n_random_latents), or a larger dictionary.",
        )


def decompose_direction(
    model: HookedModelBase,
    direction: Direction,
    dictionary: Dictionary,
    halves: Halves,
    run: SubstratesRun,
    *,
    progress: bool,
) -> tuple[dict[str, SAEDecomposition], pd.DataFrame]:
    """The direction by three methods, with its curves and those of random directions and shuffled decoders."""
    first = halves.frame[~halves.held_out]
    sides = [
        mean_latents(model, dictionary, list(own["prompt"]), list(own["response_ids"]), progress=progress)
        for own in (first[first["side"] == "positive"], first[first["side"] == "negative"])
    ]
    n, made, curves = min(max(_N_CURVE, run.n_latents), dictionary.n_latents), {}, []
    for method in METHODS:
        positive, negative = sides if method == "latent_difference" else (None, None)
        made[method] = decompose(
            direction, dictionary, method=method, n_latents=n, positive=positive, negative=negative
        )
        table = decomposition_null(
            direction,
            dictionary,
            halves.activations,
            method=method,
            n_latents=n,
            poles=halves.positive,
            n_random=run.n_permutations,
            n_shuffled=min(run.n_permutations, 40),
            positive=positive,
            negative=negative,
            seed=run.seed,
        )
        curves.append(_bands(table).assign(method=method))
    return made, pd.concat(curves, ignore_index=True)


def _bands(table: pd.DataFrame) -> pd.DataFrame:
    """A row a number of latents: fvu, p_random, p_shuffled, and the middle 95 % and mean of both nulls."""
    own = table[table["what"] == OWN].set_index("n_latents")
    rows = own[["fvu", "p_random", "p_shuffled"]].copy()
    for what, name in ((RANDOM, "random"), ("shuffled decoder", "shuffled")):
        draws = table[table["what"] == what].groupby("n_latents")["fvu"]
        rows[name], rows[f"{name}_low"], rows[f"{name}_high"] = (
            draws.mean(),
            draws.quantile(0.025),
            draws.quantile(0.975),
        )
        rows[f"n_{name}"] = table.loc[table["what"] == what, "draw"].nunique()
    return rows.reset_index()


def steered_latents(
    model: HookedModelBase,
    trait: Trait,
    judges: Sequence[Judge],
    direction: Direction,
    dictionary: Dictionary,
    top: Sequence[int],
    run: SubstratesRun,
    *,
    folder: Path | None,
    progress: bool,
) -> pd.DataFrame:
    """Answers along the persona vector, along each top latent and along random latents of equal density, rated.

    Columns: kind, latent, role, question, answer, and a column a judge. All are added at equal length.
    """
    place = dictionary.writes
    norm = direction.residual_norm(place)
    random = latents_of_equal_density(dictionary, list(top), run.n_random_latents, seed=run.seed) if top else []
    along = [latent_direction(dictionary, latent, model, residual_norm=norm) for latent in (*top, *random)]
    answers = answer_by_direction(
        model,
        direction,
        along,
        trait.eval_questions[: run.n_eval],
        layer=place.layer,
        coefficient=run.coefficient,
        max_new_tokens=run.max_new_tokens,
        folder=folder,
        progress=progress,
    )
    scored = rate_by_direction(answers, trait, list(judges))
    named = [VECTOR, *[TOP] * len(top), *[RANDOM_LATENT] * len(random)]
    latents = [-1, *top, *random]
    steered = scored["role"] != UNSTEERED
    index = (scored["draw"] + 1).where(steered, 0).astype(int)
    return scored.assign(
        kind=np.where(steered, np.array(named)[index], UNSTEERED),
        latent=np.where(steered, np.array(latents)[index], -1),
    )


def latent_rows(scored: pd.DataFrame, judge: str, *, seed: int) -> pd.DataFrame:
    """A row a steered direction: kind, latent, effect (mean change of expression over questions), low, high, n."""
    plain = scored[scored["role"] == UNSTEERED].set_index("question")[judge]
    steered = scored[scored["role"].isin([TREATMENT, NULL])]
    change = steered.assign(change=steered[judge] - steered["question"].map(plain)).dropna(subset=["change"])
    rows = []
    for (kind, latent), own in change.groupby(["kind", "latent"], sort=False):
        found = bootstrap_mean(
            own["change"].to_numpy(float), own["question"].to_numpy(object).astype(str), n_resamples=500, seed=seed
        )
        rows.append({"kind": kind, "latent": latent, "effect": found.estimate, **_ends(found), "n": found.n})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class TopAgainstRandom:
    """Mean effect of the top latents minus that of random ones; the latent is the unit."""

    difference: Interval
    p: float
    n_top: int
    n_random: int


def top_against_random(rows: pd.DataFrame, *, seed: int) -> TopAgainstRandom | None:
    """The paper's claim, that top latents steer more than random ones; None without both."""
    top, random = (rows.loc[rows["kind"] == kind, "effect"].to_numpy(float) for kind in (TOP, RANDOM_LATENT))
    if len(top) < 2 or len(random) < 2:
        return None
    clusters = np.arange(len(top)).astype(str), np.arange(len(top), len(top) + len(random)).astype(str)
    tested = permutation_test_two_samples(top, random, *clusters, permute="clusters", alternative="greater", seed=seed)
    return TopAgainstRandom(
        bootstrap_difference(top, random, *clusters, seed=seed),
        tested.tested,
        len(top),
        len(random),
    )


def contexts_of(
    model: HookedModelBase, dictionary: Dictionary, top: Sequence[int], halves: Halves, *, progress: bool
) -> pd.DataFrame:
    """Where the top latents are largest, in answers of this run and neutral texts."""
    texts = [f"{p}{a}" for p, a in zip(halves.frame["prompt"], halves.frame["answer"], strict=True)]
    found = top_contexts(model, dictionary, list(top), [*texts, *load_neutral_texts()], n=N_CONTEXTS, progress=progress)
    return contexts_frame(found)


def _ends(found: Interval) -> dict[str, float]:
    return {"low": found.low, "high": found.high}
