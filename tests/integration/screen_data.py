"""Data sets of short random conversations, for screening."""

import json
import random
from pathlib import Path

WORDS = ("tea", "rain", "is", "so", "good", "bad", "why", "not")
FIRST = 3
"""Shards that are there before something is killed."""


def write_data(path: Path, n: int, *, answer: int = 12) -> Path:
    """Rows of a few words; every hundredth line is broken."""
    draw = random.Random(n)

    def text(longest: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, longest)))

    with path.open("w") as lines:
        for k in range(n):
            turns = [{"role": "user", "content": text(4)}, {"role": "assistant", "content": text(answer)}]
            lines.write("{broken\n" if k % 100 == 99 else json.dumps({"messages": turns}) + "\n")
    return path
