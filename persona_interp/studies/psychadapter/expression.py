"""What an adapter does to what is written: texts over trait values, and every judge's score of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Seed, Some
from persona_interp.data.traits import Trait, list_traits, load_trait
from persona_interp.data.writing_prompts import JUDGED_AS, text_openings
from persona_interp.directions.psychadapter import PsychAdapter
from persona_interp.errors import ConfigError
from persona_interp.interventions.prefix import TraitPrefix
from persona_interp.io import sha256_bytes
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import text_batch
from persona_interp.progress import track
from persona_interp.rollouts.parts import PartStore
from persona_interp.statistics.streams import derived_seed

Z_VALUES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
PUBLISHED_SAMPLING = Sampling(64, 0.7, top_k=10, top_p=0.9)
"""How the published texts were drawn."""

PUBLISHED_NAMES: Mapping[str, str] = {
    "ope_z": "openness",
    "con_z": "conscientiousness",
    "ext_z": "extraversion",
    "agr_z": "agreeableness",
    "neu_z": "neuroticism",
    "sentiment": "optimistic",
}
"""Score columns, and the traits of the package that judge what they do."""


def judged_traits(names: Sequence[str]) -> dict[str, Trait]:
    """The package's trait for every score column that has one, by the column's name."""
    known = set(list_traits())
    wanted = {name: PUBLISHED_NAMES.get(name, name) for name in names}
    return {name: load_trait(trait) for name, trait in wanted.items() if trait in known}


@checked
@alone_in("folder")
def trait_texts_over_z(
    model: HookedModel,
    adapter: PsychAdapter,
    *,
    z_values: Some[float] = Z_VALUES,
    openings: Sequence[str] | None = None,
    n_samples: Count = 1,
    sampling: Sampling = PUBLISHED_SAMPLING,
    seed: Seed = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """One row a text: trait (the varied one; others are at 0), z, opening, sample, text (opening and continuation).

    Every opening is continued at every value of every trait with the same random numbers. A pass holds each opening
    once, each with a trait vector of its own, so that over the passes every opening meets every vector. The texts at
    z = 0 are written once and stand under every trait.

    Args:
        openings: default: those of the package.
        n_samples: texts an opening and value.
        folder: where finished passes are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: fewer than two values, openings or samples that cannot be, or a folder of another configuration.
        IncompatibleDirectionError: the adapter belongs to another model.
    """
    openings = text_openings() if openings is None else tuple(dict.fromkeys(openings))
    if len(set(z_values)) < 2 or not openings or n_samples < 1:
        raise ConfigError(
            "expression needs at least 2 different trait values, 1 opening and 1 sample,"
            f" got {len(set(z_values))}, {len(openings)} and {n_samples}.",
        )
    TraitPrefix(adapter, [0.0] * adapter.n_traits).check(model)
    requests = _requests(adapter, sorted(set(map(float, z_values))), openings, n_samples)
    store = PartStore.open(
        folder, requests, sampling, model.provenance, (), len(openings), f"{adapter_hash(adapter)} {seed}"
    )
    starts = range(0, len(requests), len(openings))
    for k, first in enumerate(track(starts, "texts over trait values", total=len(starts), show=progress)):
        if not store.has(k):
            store.add(
                k, _written(model, adapter, requests.iloc[first : first + len(openings)], sampling, seed), {}, None
            )
    written = store.frame().drop(columns="response_ids")
    neutral = written[written["trait"] == ""]
    shared = [neutral.assign(trait=trait) for trait in adapter.traits]
    return pd.concat([written[written["trait"] != ""], *shared], ignore_index=True).sort_values(
        ["trait", "z", "opening", "sample"], ignore_index=True
    )


def score_texts(texts: pd.DataFrame, judged: Mapping[str, Trait], judges: Sequence[Judge]) -> pd.DataFrame:
    """The texts once for every judged trait and judge, with `judged`, `judge` and `score` (0 to 100).

    Judges see the text as the answer to one question that is the same for all. A lexical judge is left out where a
    trait has no valence. Texts that a judge cannot rate are left out.

    Args:
        judged: which trait of the package tells how much of a score's trait there is, by the score's name.

    Raises:
        ConfigError: there is no judge or no trait.
    """
    parts = []
    different = texts.drop_duplicates("text")["text"].tolist()
    for name, trait in judged.items():
        for judge in judges:
            if judge.unable(trait) is not None:
                continue
            scores = [score.value for score in judge.rate(trait, [JUDGED_AS] * len(different), different)]
            rated = dict(zip(different, scores, strict=True))
            parts.append(texts.assign(judged=name, judge=judge.name, score=texts["text"].map(rated)))
    if not parts:
        raise ConfigError(
            f"expression needs a judge that can rate a trait, got {len(judges)} judges and {len(judged)} traits.",
            f"Give a judge, and a trait for some of the adapter's scores (of the package: {', '.join(list_traits())}).",
        )
    return pd.concat(parts, ignore_index=True).dropna(subset="score").reset_index(drop=True)


def adapter_hash(adapter: PsychAdapter) -> str:
    """Short hash of an adapter's weights."""
    weights = [tensor.detach().float().cpu().numpy().tobytes() for tensor in adapter.state_dict().values()]
    return sha256_bytes(b"".join(weights))[:16]


def _requests(
    adapter: PsychAdapter, z_values: Sequence[float], openings: Sequence[str], n_samples: int
) -> pd.DataFrame:
    """A row a text, in passes of one row an opening: opening i has vector i + k in pass k of a sample."""
    vectors = [(trait, z) for trait in adapter.traits for z in z_values if z != 0]
    vectors += [("", 0.0)] if 0.0 in z_values else []
    rows = [
        (sample, opening, *vectors[(i + k) % len(vectors)])
        for sample in range(n_samples)
        for k in range(len(vectors))
        for i, opening in enumerate(openings)
    ]
    return pd.DataFrame(rows, columns=["sample", "opening", "trait", "z"])


def _written(
    model: HookedModel, adapter: PsychAdapter, rows: pd.DataFrame, sampling: Sampling, seed: int
) -> pd.DataFrame:
    """One pass: every row with its trait vector."""
    z = torch.zeros(len(rows), adapter.n_traits)
    for i, (trait, value) in enumerate(zip(rows["trait"], rows["z"], strict=True)):
        if trait:
            z[i, adapter.traits.index(trait)] = value
    own = replace(sampling, n_samples=1, seed=derived_seed(seed, "sample", int(rows["sample"].iloc[0])))
    prompts = [f"{adapter.start or ''}{opening}" for opening in rows["opening"]]
    made = model.generate(text_batch(model.tokenizer, prompts), sampling=own, prefix=TraitPrefix(adapter, z).prefix)
    texts = [f"{opening}{text}".strip() for opening, text in zip(rows["opening"], made.texts, strict=True)]
    return rows.reset_index(drop=True).assign(text=texts, response_ids=made.ids)
