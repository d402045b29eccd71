"""The judges of styles, and how well each tells styles apart, on sentences that its exemplars are not from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from persona_interp.data.styles import StyleCorpus, style_trait
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.protocol import HookedModel
from persona_interp.statistics import auc_intervals
from persona_interp.studies.styles.signs import LEXICAL_STYLE_SIGNS
from persona_interp.studies.styles.steering import able_judges, rate_style


def style_judges(model: HookedModel, *, likelihood: bool) -> tuple[list[Judge], CoherenceJudge]:
    """The embedding and lexical judges, the likelihood judge by the model itself where asked for, and coherence."""
    embedding = EmbeddingJudge()
    judges: list[Judge] = [embedding, LexicalJudge(LEXICAL_STYLE_SIGNS)]
    if likelihood:
        judges.append(LikelihoodJudge(model, n_pairs=1))
    return judges, CoherenceJudge(model, embedding.encoder)


def style_judge_table(
    judges: Sequence[Judge],
    exemplars: StyleCorpus,
    sentences: StyleCorpus,
    *,
    styles: Sequence[str],
) -> pd.DataFrame:
    """AUC of every judge on the sentences of each style against those of the others, with an interval over sentences.

    Columns: style, judge, auc, low, high, n, n_style, note. A judge that cannot rate a style has no AUC, and the note
    says why. It bounds what steering can show by this judge; answers are longer and less plain than sentences.

    Args:
        exemplars: the corpus that judges take exemplars from; sentences: others.
    """
    rows: list[dict[str, Any]] = []
    for style in styles:
        trait = style_trait(exemplars, style, questions=[])
        able, unable = able_judges(judges, trait)
        rows += [{"style": style, "judge": name, "note": why} for name, why in unable.items()]
        texts = [(text, name == style) for name, of_style in sentences.sentences.items() for text in of_style]
        inside = np.array([ours for _, ours in texts])
        for judge in able:
            scores = np.array(rate_style(judge, trait, [""] * len(texts), [text for text, _ in texts]))
            sides = [scores[side & np.isfinite(scores)] for side in (inside, ~inside)]
            labels = [np.array([f"{k} {i}" for i in range(len(side))]) for k, side in enumerate(sides)]
            interval = auc_intervals(sides[0][:, None], sides[1][:, None], *labels)[0]
            found = {"auc": interval.estimate, "low": interval.low, "high": interval.high}
            sizes = {"n": sum(map(len, sides)), "n_style": len(sides[0])}
            rows.append({"style": style, "judge": judge.name, **found, **sizes, "note": ""})
    return pd.DataFrame(rows, columns=["style", "judge", "auc", "low", "high", "n", "n_style", "note"])
