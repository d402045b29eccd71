"""Levels of the statistics of comparisons; the slow test writes tests/golden/levels/comparison.csv.

Two families that share a planted direction are found the same, two that do not are not, also where a family is a probe.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from persona_interp.directions.probes import lda_vectors, logistic_vectors
from persona_interp.statistics.crossed_slope import crossed_slope
from persona_interp.statistics.partial_rank import partial_spearman
from persona_interp.statistics.shared_direction import Halves, relation, shared_direction, sides_of
from persona_interp.statistics.streams import stream
from tests.golden.simulation import clustered

TABLE = Path(__file__).parent / "levels" / "comparison.csv"
Rng = np.random.Generator
Found = Mapping[str, float]
WIDTH = 96


def orthogonal(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Two directions without an angle in common."""
    u, v = np.linalg.qr(rng.standard_normal((WIDTH, 2)))[0].T
    return u, v


def told(first: Halves, second: Halves, cosine: float, *, same_units: bool = True) -> Found:
    """What an interval and its verdict say of two families whose cosine is known."""
    found = shared_direction(first, second, same_units=same_units)
    if np.isnan(found.low):
        return {"with interval": 0.0}
    said = relation(found, 1.96 / np.sqrt(WIDTH))
    inside = float(found.low <= cosine <= found.high)
    return {"with interval": 1.0, "covered": inside, **{f"found {name}": float(said == name) for name in VERDICTS}}


VERDICTS = ("same", "related", "unrelated", "opposed")


def means(cosine: float, n: int, scatter: float, *, apart: bool = False) -> Callable[[Rng], Found]:
    """Two mean differences over n questions, made of the same answers or of others; scatter of a question's row."""

    def one(rng: Rng) -> Found:
        u, v = orthogonal(rng)
        sizes = 1 / np.sqrt(1 + np.arange(WIDTH))
        sizes *= scatter / np.sqrt((sizes**2).sum())
        rows = [rng.standard_normal((n, WIDTH)) * sizes for _ in range(2)]
        shared = rows[0] if not apart else rows[1]
        first = u + rows[0]
        second = cosine * u + np.sqrt(1 - cosine**2) * v + 0.7 * shared + np.sqrt(0.51) * rows[1]
        side = sides_of(n, 10, rng)
        other = sides_of(n, 10, rng) if apart else side
        halves = Halves.made(lambda k: first[k].mean(0), side), Halves.made(lambda k: second[k].mean(0), other)
        return told(*halves, cosine, same_units=not apart)

    return one


def fitted(method: str, n: int, size: float, *, shared: bool) -> Callable[[Rng], Found]:
    """A mean difference and a probe or LDA from the same answers, of one planted contrast or of two crossed ones."""

    def one(rng: Rng) -> Found:
        u, v = orthogonal(rng)
        poles = np.tile([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 2, (n, 1))
        questions = np.repeat(np.arange(n), 8)
        noise = rng.standard_normal((n, WIDTH))[questions] + rng.standard_normal((8 * n, WIDTH))
        values = torch.from_numpy(size * poles @ np.stack([u, v]) + noise)
        own, other = poles[:, 0] > 0, poles[:, 0 if shared else 1] > 0

        def parted(rows: np.ndarray, side: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
            return values[torch.from_numpy(rows & side)], values[torch.from_numpy(rows & ~side)]

        def mean(kept: np.ndarray) -> np.ndarray:
            ours, theirs = parted(kept[questions], own)
            return (ours.mean(0) - theirs.mean(0)).numpy()

        def probe(kept: np.ndarray) -> np.ndarray:
            ours, theirs = parted(kept[questions], other)
            fit = lda_vectors if method == "LDA" else logistic_vectors
            return fit(ours[None], theirs[None])[0].numpy()

        side = sides_of(n, 4, rng)
        return told(Halves.made(mean, side), Halves.made(probe, side), float(shared))

    return one


def ranks(rho: float, n: int, *, given: bool) -> Callable[[Rng], Found]:
    """A rank correlation over n questions of four rows, or one that a third column alone makes."""

    def one(rng: Rng) -> Found:
        clusters = np.repeat(np.arange(n), 4)
        x, e, z = (clustered(rng, clusters, 0.3) for _ in range(3))
        y = rho * x + np.sqrt(1 - rho**2) * e
        if given:
            x, y = x + z, e + z
        found = partial_spearman(x, y, [z] if given else [], clusters.astype(str))
        truth = 0.0 if given else 6 / np.pi * np.arcsin(rho / 2)
        return {"with interval": float(np.isfinite(found.low)), "covered": float(found.low <= truth <= found.high)}

    return one


def slopes(slope: float, n: int) -> Callable[[Rng], Found]:
    """A slope over 10 families and n traits of different levels; the scatter of a trait is partly its own."""

    def one(rng: Rng) -> Found:
        x = 0.3 * rng.standard_normal((10, n)) + 0.3 * rng.standard_normal(n)
        noise = rng.standard_normal((10, 1)) + rng.standard_normal(n) + rng.standard_normal((10, n))
        y = slope * x + noise + rng.standard_normal(n) * rng.standard_normal((10, 1))
        found = crossed_slope(x, y, n_permutations=199, seed=int(rng.integers(10**6)))
        return {
            "with interval": 1.0,
            "covered": float(found.low <= slope <= found.high),
            "rejected": float(found.p <= 0.05),
        }

    return one


SETTINGS: dict[str, tuple[int, Callable[[Rng], Found]]] = {
    **{
        f"means, cosine {c:g}, {n} questions, scatter {s:g}": (400, means(c, n, s))
        for c in (1.0, 0.8, 0.5, 0.0)
        for n in (8, 16)
        for s in (0.5, 1.5)
    },
    **{f"means of other answers, cosine {c:g}, 16": (400, means(c, 16, 1.5, apart=True)) for c in (1.0, 0.8, 0.0)},
    **{
        f"mean and {method}, {'one contrast' if shared else 'two contrasts'}, {n} questions": (
            100,
            fitted(method, n, 2.0, shared=shared),
        )
        for method in ("probe", "LDA")
        for shared in (True, False)
        for n in (8, 16)
    },
    **{f"rank correlation {r:g}, {n} questions": (400, ranks(r, n, given=False)) for r in (0.0, 0.6) for n in (10, 20)},
    **{f"rank correlation by a third column, {n} questions": (400, ranks(0, n, given=True)) for n in (10, 20)},
    **{f"crossed slope {b:g}, {n} traits": (400, slopes(b, n)) for b in (0.0, 2.0) for n in (8, 14)},
}


def rows_of_setting(setting: str, n_sets: int) -> list[dict[str, object]]:
    """What was found in so many sets, a row a rate."""
    found = pd.DataFrame([SETTINGS[setting][1](stream(seed, setting)) for seed in range(n_sets)])
    known = int(found["with interval"].sum())
    return [
        {
            "what": what,
            "setting": setting,
            "found": float(values.mean()),
            "with_interval": known / n_sets,
            "n_sets": n_sets,
        }
        for what, values in found.drop(columns="with interval").items()
    ]


def misses(table: pd.DataFrame) -> pd.DataFrame:
    """Rates that are worse than they are said to be, beyond three standard errors."""
    n = table["n_sets"] * table["with_interval"]
    slack = 3 * np.sqrt(0.05 * 0.95 / n)
    below = (table["what"] == "covered") & (table["found"] < 0.95 - slack)
    shared = table["setting"].str.contains("cosine 1|one contrast")
    none = table["setting"].str.contains("cosine 0,|two contrasts")
    wrong = none & table["what"].isin(["found same", "found related", "found opposed"])
    wrong |= shared & table["what"].isin(["found unrelated", "found opposed"])
    wrong |= table["setting"].str.contains("cosine 0.8") & (table["what"] == "found same")
    wrong |= table["setting"].str.contains("slope 0,") & (table["what"] == "rejected")
    return table[below | (wrong & (table["found"] > 0.05 + slack))]


@pytest.mark.slow
def test_every_level_holds() -> None:
    rows = [row for setting, (n_sets, _) in SETTINGS.items() for row in rows_of_setting(setting, n_sets)]
    table = pd.DataFrame(rows)
    table.to_csv(TABLE, index=False, float_format="%.4g")
    assert misses(table).empty, misses(table).to_string()


def test_sharing_families_are_found_the_same_and_others_are_not() -> None:
    same, none = "means, cosine 1, 16 questions, scatter 0.5", "means, cosine 0, 16 questions, scatter 0.5"
    table = pd.DataFrame([*rows_of_setting(same, 40), *rows_of_setting(none, 40)]).set_index(["setting", "what"])
    assert table.loc[(same, "found same"), "found"] > 0.9
    assert table.loc[(none, "found unrelated"), "found"] > 0.9
    assert misses(table.reset_index()).empty


def test_a_slope_of_nothing_is_not_found() -> None:
    table = pd.DataFrame(rows_of_setting("crossed slope 0, 14 traits", 80))
    assert misses(table).empty


def test_the_table_has_every_setting() -> None:
    assert list(dict.fromkeys(pd.read_csv(TABLE)["setting"])) == list(SETTINGS)
