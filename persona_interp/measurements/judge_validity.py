"""What is known of a study's judges from texts whose trait is known, to stand beside every number they give."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from persona_interp.data.hard_pairs import pairs_hash
from persona_interp.data.traits import Trait
from persona_interp.identity import of_judges
from persona_interp.io import path_part, sha256_json
from persona_interp.judges.protocol import Judge
from persona_interp.judges.validity import headline_auc, scores_on_texts, validity_on_texts
from persona_interp.tables import kept_table

Known = Mapping[str, Mapping[str, float]]
"""trait -> judge -> AUC on hard pairs, else on exemplars."""


def known_validity(judges: Sequence[Judge], traits: Sequence[Trait], folder: Path) -> dict[str, dict[str, float]]:
    """The AUC of every judge for every trait on hard pairs, else exemplars; without those that could not be tried.

    Args:
        folder: where the scores are kept, so that a judge rates the texts of a trait once.
    """
    found: dict[str, dict[str, float]] = {trait.name: {} for trait in traits}
    for trait in traits:
        for judge in judges:
            if judge.unable(trait) is not None:
                continue
            key = sha256_json([of_judges([judge]), trait.data_hash, pairs_hash(trait)])[:12]
            path = folder / "judges" / f"{path_part(trait.name, 'trait')}-{key}.parquet"
            scores = kept_table(path, lambda j=judge, t=trait: scores_on_texts(j, t))
            auc = headline_auc(validity_on_texts(trait.name, judge.name, scores))
            if np.isfinite(auc):
                found[trait.name][judge.name] = auc
    return found
