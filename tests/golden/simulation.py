"""Simulated rows and the bounds of simulated rates, for the golden tests."""

import numpy as np


def binomial_bounds(rate: float, n: int, width: float = 3.5) -> tuple[float, float]:
    """Where a share of n simulated sets lies when its true rate is this; 3.5 standard errors either side."""
    spread = width * np.sqrt(rate * (1 - rate) / n)
    return rate - spread, rate + spread


def clustered(rng: np.random.Generator, clusters: np.ndarray, share: float) -> np.ndarray:
    """Normal rows of variance 1, this share of it common to a cluster."""
    effects = rng.standard_normal(clusters.max() + 1)
    return np.sqrt(share) * effects[clusters] + np.sqrt(1 - share) * rng.standard_normal(len(clusters))
