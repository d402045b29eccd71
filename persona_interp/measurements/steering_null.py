"""Steering against random directions, each of which is a draw: the direction is the unit, not the answer.

At one place and strength that were named before any steered answer was seen, the direction and each random one answer
the same questions in the same batches, greedily, a direction a row. p is the direction's rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from persona_interp.arguments import checked
from persona_interp.bounds import Coefficient, Count, Size, Some
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.interventions.record import record
from persona_interp.interventions.rows import AddEach
from persona_interp.io import sha256_json
from persona_interp.judges.protocol import Judge
from persona_interp.measurements.roles import NULL, TREATMENT, UNSTEERED
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.rollouts.generate import EditsOf, answer, plain_requests
from persona_interp.statistics.draws import rank_among
from persona_interp.statistics.levels import ALPHA, POWER
from persona_interp.types import NO_EDITS, Edits

LEAST_DRAWS = 100


def draws_for(n_traits: int) -> int:
    """Random directions that one true effect among the two claims of so many traits needs for q <= 0.05; at least 100.

    The trait need not separate: its steering may be the only true one of the 2 n claims.
    """
    return max(LEAST_DRAWS, int(np.ceil(2 * n_traits / ALPHA)))


@dataclass(frozen=True)
class DirectionTest:
    """How a direction's effect ranks among those of random directions.

    Args:
        effect: mean expression of the steered answers minus that of the unsteered ones, over questions, by one judge.
        p: share of random directions (and itself) that raise expression at least as much;
            NaN with fewer than 19, which could not give 0.05.
        null_low: 2.5th percentile of the random directions' effects, and `null_high` the 97.5th; NaN with fewer than
            40 of them.
        detectable: the least effect that exceeds the null's 95th percentile in 80 % of repetitions with as many new
            questions, at an uncorrected level of 0.05.
    """

    layer: int
    coefficient: float
    effect: float
    p: float
    null_low: float
    null_high: float
    detectable: float
    n_draws: int
    n_questions: int


@checked
def answer_by_direction(
    model: HookedModel,
    direction: Direction,
    random: Sequence[Direction],
    questions: Some[str],
    *,
    layer: int,
    coefficient: Coefficient,
    max_new_tokens: Count = 24,
    batch_size: Size = 128,
    folder: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Greedy answers without steering, along the direction, and along every random one: role, draw, question, answer.

    Args:
        coefficient: in units of the mean residual norm at the layer, the same for all.
        folder: where finished batches are kept; the same call goes on where an interrupted one stopped.

    Raises:
        ConfigError: no question, a coefficient of 0, or a direction that is zero there.
        IncompatibleDirectionError: a direction belongs to another model.
    """
    directions = [direction, *random]
    for one in directions:
        check_direction(one, model)
    if not questions or coefficient == 0:
        raise ConfigError(
            f"steering needs questions and a coefficient that is not 0, got {len(questions)} and {coefficient}."
        )
    plain = plain_requests(questions)
    requests = pd.concat([plain.assign(instruction=k) for k in range(len(directions))], ignore_index=True)

    def edits(rows: pd.DataFrame) -> Edits:
        return AddEach([directions[k] for k in rows["instruction"]], layer, coefficient).edits

    what = sha256_json([[record(one) for one in directions], layer, coefficient])[:16]

    def answered(name: str, asked: pd.DataFrame, edits: EditsOf | Edits, edits_hash: str | None) -> pd.DataFrame:
        made = answer(
            model,
            asked,
            sampling=Sampling(max_new_tokens, temperature=0.0),
            trait=direction.trait,
            edits=edits,
            edits_hash=edits_hash,
            batch_size=batch_size,
            folder=None if folder is None else folder / name,
            label=f"{direction.trait}: {name}, {len(asked)} answers",
            progress=progress,
        )
        return made.frame[["instruction", "question", "answer"]].rename(columns={"instruction": "draw"})

    steered = answered("by-direction", requests, edits, what)
    steered = steered.assign(role=np.where(steered["draw"] == 0, TREATMENT, NULL), draw=steered["draw"] - 1)
    unsteered = answered(UNSTEERED, plain, NO_EDITS, None)
    return pd.concat([unsteered.assign(role=UNSTEERED), steered], ignore_index=True)


@checked
def rate_by_direction(answers: pd.DataFrame, trait: Trait, judges: Judge | Some[Judge]) -> pd.DataFrame:
    """The answers with a column of each judge's scores; equal answers to one question are rated once."""
    distinct = answers[["question", "answer"]].drop_duplicates()
    asked = list(distinct["question"]), list(distinct["answer"])
    several = [judges] if isinstance(judges, Judge) else judges
    rated = distinct.assign(**{judge.name: [s.value for s in judge.rate(trait, *asked)] for judge in several})
    return answers.merge(rated, on=["question", "answer"], how="left", validate="many_to_one")


@checked
def direction_effects(scored: pd.DataFrame, judge: str) -> pd.DataFrame:
    """A row a direction: role, draw, effect, se (over questions), n_questions; NaN where no answer could be rated."""
    plain = scored[scored["role"] == UNSTEERED].set_index("question")[judge]
    steered = scored[scored["role"] != UNSTEERED]
    change = steered[judge] - steered["question"].map(plain)
    grouped = steered.assign(change=change).groupby(["role", "draw"], sort=False)["change"]
    frame = grouped.agg(effect="mean", se="sem", n_questions="count").reset_index()
    return frame.sort_values("draw", ignore_index=True)


@checked
def direction_test(effects: pd.DataFrame) -> DirectionTest:
    """The rank of the direction among the random ones, one-sided: more expression.

    A random direction without an effect (none of its answers could be rated) counts as one that raises it more.

    Args:
        effects: of `direction_effects`, with the columns layer and coefficient.

    Raises:
        AlignmentError: not one direction that is tested.
    """
    own = effects[effects["role"] == TREATMENT]
    if len(own) != 1:
        raise AlignmentError(f"the effects must have one row of role {TREATMENT}, got {len(own)}.")
    own = own.iloc[0]
    rank = rank_among(float(own["effect"]), effects.loc[effects["role"] == NULL, "effect"].to_numpy(float))
    return DirectionTest(
        layer=int(own["layer"]),
        coefficient=float(own["coefficient"]),
        effect=float(own["effect"]),
        p=rank.p,
        null_low=rank.low,
        null_high=rank.high,
        detectable=float(rank.upper + norm.ppf(POWER) * own["se"]),
        n_draws=rank.n,
        n_questions=int(own["n_questions"]),
    )
