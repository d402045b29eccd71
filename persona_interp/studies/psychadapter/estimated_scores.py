"""Texts that a model writes about nothing in particular under personality prompts, with estimated trait scores.

The adapter's training data where no rated texts are at hand. Who writes is told by system prompts that are high or low
in one trait or two; what is asked for is neutral, so that the text alone carries the traits. Scores come from a judge,
not from people: they are called estimated, as those of the published adapter are, and their axes leak into one another.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.bounds import Bounds, Count, Seed, Some, Temperature
from persona_interp.data.trait_texts import BIG_FIVE, TraitTexts
from persona_interp.data.traits import Trait, load_trait
from persona_interp.data.writing_prompts import JUDGED_AS, writing_prompts
from persona_interp.errors import ArtefactError, EmptySelectionError
from persona_interp.identity import of_judges
from persona_interp.io import REMEDY, read_json, sha256_json, write_json
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.rollouts.generate import answer
from persona_interp.rollouts.parts import refuse_other_config
from persona_interp.statistics.streams import stream

_MIXED = 0.5
_SHORTEST = 12
"""Characters of a text worth keeping."""


@checked
@alone_in("folder")
def generate_trait_texts(
    model: HookedModel,
    *,
    n_texts: Annotated[int, Bounds(2, 10**6)] = 1000,
    judges: Some[Judge],
    traits: Some[str | Trait] = BIG_FIVE,
    max_new_tokens: Count = 48,
    temperature: Temperature = 0.9,
    seed: Seed = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> TraitTexts:
    """Short texts by the model under high, low and mixed prompts of every trait, scored on all traits by judges.

    The first judge's scores (0 to 100) are the scores; standardise before training. Scores of the other judges stand
    beside them, so that what one judge taught can be measured by another. Texts of fewer than 12 characters, and
    those that a judge cannot rate, are left out, so there may be fewer than asked for.

    Args:
        judges: rate the text alone, as the answer to one question that is the same for all texts.
        traits: names of the package or traits; each needs system prompts and what its judges need.
        folder: where texts and scores are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: there is no judge, too few texts or traits, or the folder holds texts of another configuration.
        TraitError: a trait is unknown, or a judge cannot rate it.
        EmptySelectionError: the model wrote next to nothing.
    """
    known = [trait if isinstance(trait, Trait) else load_trait(trait) for trait in traits]
    made = answer(
        model,
        text_requests(known, n_texts, seed=seed),
        sampling=Sampling(max_new_tokens, temperature, seed=seed),
        trait="+".join(trait.name for trait in known),
        trait_hash=sha256_json([trait.data_hash for trait in known])[:16],
        folder=None if folder is None else folder / "texts",
        label="texts to train on",
        progress=progress,
    ).frame
    written = [text for text in made["answer"] if len(text) >= _SHORTEST]
    if len(written) < 2:
        raise EmptySelectionError(
            f"{model.name} wrote {len(written)} usable texts of {n_texts}.", "Try other sampling, or another model."
        )
    scores = {judge.name: _scores(judge, known, written, folder) for judge in judges}
    first = judges[0].name
    usable = np.flatnonzero(np.isfinite(np.concatenate(list(scores.values()), axis=1)).all(axis=1))
    return TraitTexts(
        texts=tuple(written[i] for i in usable),
        scores=scores[first][usable],
        traits=tuple(trait.name for trait in known),
        source=f"texts by {model.name}, scores estimated by {first}",
        estimated=True,
        also={name: table[usable] for name, table in scores.items() if name != first},
    )


def text_requests(traits: Sequence[Trait], n_texts: int, *, seed: int) -> pd.DataFrame:
    """Who is to write (side, instruction, system) and what (question), a row a text; equal prompts are neighbours.

    Half of the texts are under one pole of one trait, half under one pole each of two traits. Poles, instructions and
    writing prompts are used equally often, up to one.
    """
    rng = stream(seed, "levels of traits")
    prompts, rows = writing_prompts(), []
    poles = [(k, side) for k in range(len(traits)) for side in ("positive", "negative")]
    for i in range(n_texts):
        if i % len(poles) == 0:
            order = rng.permutation(len(poles))
        if i % len(prompts) == 0:
            asked = rng.permutation(len(prompts))
        k, side = poles[order[i % len(poles)]]
        chosen = [(traits[k], side)]
        if len(traits) > 1 and rng.random() < _MIXED:
            other = int(rng.choice([j for j in range(len(traits)) if j != k]))
            chosen.append((traits[other], ("positive", "negative")[int(rng.integers(2))]))
        texts = [rng.choice(list(trait.system_prompts(pole))) for trait, pole in chosen]  # pyright: ignore
        name = " + ".join(f"{'high' if pole == 'positive' else 'low'} {trait.name}" for trait, pole in chosen)
        system = f"{' '.join(texts)} Write as yourself, in the first person, in plain sentences."
        rows.append({"side": name, "instruction": 0, "question": prompts[asked[i % len(prompts)]], "system": system})
    return pd.DataFrame(rows).sort_values(["system", "question"], kind="stable", ignore_index=True)


def _scores(
    judge: Judge, traits: Sequence[Trait], texts: Sequence[str], folder: Path | None
) -> Float[np.ndarray, "text trait"]:
    """Scores of every text on every trait; each trait is kept as it is done."""
    columns = []
    for trait in traits:
        home = None if folder is None else folder / "scores" / f"{sha256_json(judge.name)[:8]}_{trait.name}"
        if home is not None:
            config = {"judge": of_judges([judge]), "trait": trait.data_hash, "texts": sha256_json(list(texts))}
            refuse_other_config(home / "config.json", config)
        if home is not None and (home / "scores.json").is_file():
            columns.append(_kept_scores(home / "scores.json", len(texts)))
            continue
        rated = [score.value for score in judge.rate(trait, [JUDGED_AS] * len(texts), texts)]
        columns.append(rated)
        if home is not None:
            write_json(home / "scores.json", rated)
    return np.array(columns, dtype=float).T.reshape(len(texts), len(traits))


def _kept_scores(path: Path, n_texts: int) -> list[float | None]:
    kept = read_json(path)
    is_list = isinstance(kept, list) and len(kept) == n_texts
    if not is_list or not all(score is None or type(score) in (int, float) for score in kept):
        raise ArtefactError(f"{path} is not a list of {n_texts} scores, each a number or null.", REMEDY)
    return kept
