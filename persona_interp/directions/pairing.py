"""Which positive row is compared with which negative one."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from persona_interp.statistics.streams import stream

PAIR_KEYS = ("question", "instruction", "sample")


def paired_rows(positive: pd.DataFrame, negative: pd.DataFrame, *, seed: int) -> tuple[Int[Tensor, "pair two"], str]:
    """Row numbers of pairs, positive and negative, and what they share.

    Rows pair that agree in those of question, instruction and sample that both frames have; at random among several
    that do. Rows without a partner are left out. Where no key is shared, or no row has a partner, all rows pair at
    random, which is said: "random".
    """
    rng = stream(seed, "pairs")
    keys = [key for key in PAIR_KEYS if key in positive and key in negative]
    sides = []
    for frame in (positive, negative):
        shuffled = frame[keys].assign(row=np.arange(len(frame))).iloc[rng.permutation(len(frame))]
        shuffled["turn"] = shuffled.groupby(keys, dropna=False).cumcount() if keys else np.arange(len(frame))
        sides.append(shuffled)
    joined = sides[0].merge(sides[1], on=[*keys, "turn"], suffixes=("", "_negative"))
    if joined.empty:
        bare = (side[["row"]].assign(turn=np.arange(len(side))) for side in sides)
        keys, joined = [], pd.merge(*bare, on="turn", suffixes=("", "_negative"))
    pairs = joined.sort_values("row")[["row", "row_negative"]].to_numpy(dtype=np.int64)
    return torch.from_numpy(pairs.copy()), ", ".join(keys) or "random"
