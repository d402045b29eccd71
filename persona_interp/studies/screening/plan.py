"""What a screening will take: tokens to read of each row, by the first rows, and to write where it answers itself."""

from collections.abc import Mapping
from itertools import islice
from statistics import fmean

from persona_interp.data.conversations import Conversation, stream_conversations
from persona_interp.data.streams import count_rows
from persona_interp.studies.plan import CHARACTERS, Step
from persona_interp.studies.screening.config import ScreenConfig

_LOOKED_AT = 64


def screening_plan(sources: Mapping[str, tuple[str, int]], config: ScreenConfig) -> list[Step]:
    """A step a data set, by the number of its rows and the length of the first ones; none where a number is not known.

    Args:
        sources: data sets by what they are called, each with the number of rows that are done.
    """
    steps = []
    for name, (source, done) in sources.items():
        n = count_rows(source)
        if n is None:
            return []
        left, seen = max(0, n - done), _lengths(source)
        own = config.max_new_tokens if config.delta == "generate" else 0
        steps.append(Step(name, left, left * own, round(left * ((fmean(seen) if seen else 0.0) + own))))
    return steps


def _lengths(source: str) -> list[float]:
    """Tokens of the first rows that can be used, about."""
    rows = islice(stream_conversations(source), _LOOKED_AT)
    return [
        sum(len(turn.content) for turn in row.turns) / CHARACTERS for _, row in rows if isinstance(row, Conversation)
    ]
