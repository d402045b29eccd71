"""The tables that a screening leaves beside its shards."""

from typing import get_args

from persona_interp.studies.screening.config import Score
from persona_interp.tables import Column, Form, numbers, texts, truths, wholes

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

_PLACE = (Column("direction", "text", filled=True), Column("layer", "whole", filled=True))
_SAMPLE = (Column("rank", "whole", filled=True), Column("row", "whole", filled=True), Column("name", "text"))

SUMMARY = Form(
    "summary",
    (
        *_PLACE,
        Column("score", "text", allowed=get_args(Score), filled=True),
        Column("n", "whole", filled=True),
        *numbers("mean low high"),
        Column("interval", "text", allowed=("bootstrap", "normal")),
        *numbers(f"sd {' '.join(f'p{percent:02d}' for percent in PERCENTILES)} threshold"),
        *wholes("n_above"),
        *numbers("share_above share_low share_high"),
    ),
)
"""A row a direction, layer and score: mean with its interval, spread, percentiles, share above the threshold."""

RANKING = Form("ranking", (*_PLACE, *_SAMPLE, *numbers("score"), *truths("above_threshold")))
"""Every scored sample, largest score first, direction by direction."""

FLAGGED = Form(
    "flagged",
    (*_PLACE, *_SAMPLE, *numbers(" ".join(get_args(Score)), optional=True), *texts("question answer tokens")),
)
"""The first samples of the ranking with their text."""

PAIRS = Form(
    "pairs",
    (
        *_PLACE,
        *_SAMPLE,
        *texts("prompt", filled=True),
        *numbers("chosen rejected difference", unit="residual units"),
        *wholes("n_prompt_tokens n_chosen_tokens n_rejected_tokens"),
    ),
)
"""A row a pair, direction and layer, the largest difference first: what most teaches the trait to who prefers so.

`prompt` is a name for what both answers are to: pairs that share it are one cluster.
"""

PAIR_SUMMARY = Form(
    "pair_summary",
    (
        *_PLACE,
        *wholes("n n_prompts"),
        *numbers("chosen rejected mean low high", unit="residual units"),
        Column("interval", "text", allowed=("bootstrap", "normal")),
        *numbers("sd p detectable"),
        Column("test", "text"),
        *numbers("share_higher share_low share_high"),
    ),
)
"""A row a direction and layer: the mean difference with its interval and test, and the share of positive ones."""

PAIR_TEXTS = Form("pair_texts", (*_PLACE, *_SAMPLE, *numbers("difference"), *texts("question chosen rejected")))
"""The first pairs of the ranking with their text."""

UNUSABLE = Form("unusable", (Column("row", "whole", filled=True), *texts("name reason")))
"""The rows that could not be scored."""
