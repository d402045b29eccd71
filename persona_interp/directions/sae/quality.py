"""`Quality`: how well a dictionary stands for what it was trained on, on text that it has not seen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.io import load_tensors, save_tensors
from persona_interp.records import ANYTHING, number, or_null, text, texts_of, whole
from persona_interp.records import fields as keys_of
from persona_interp.statistics.resampling import Interval
from persona_interp.tensors import read_floats

KIND = "quality of a dictionary"
QUALITY_FILE = "quality.safetensors"
MOST_FVU, LEAST_RECOVERED, MOST_DEAD = 0.5, 0.8, 0.5
"""A dictionary is good where it leaves less than half of the variance, gets back at least four fifths of the loss that
zeros cost, and more than half of its latents fire at all."""
DENSITY_EDGES = (-6.0, -5.0, -4.5, -4.0, -3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0)
"""Of the histogram: log10 of the share of tokens on which a latent fires."""


@dataclass(frozen=True, eq=False)
class Quality:
    """Numbers of a dictionary on some tokens, position 0 and massive ones left out.

    Args:
        fvu: fraction of variance unexplained, sum |x - x'|^2 / sum |x - mean x|^2 over tokens, clusters are texts.
        ce_recovered: (L_zero - L_spliced) / (L_zero - L), with L the loss, L_spliced that with the reconstruction in
            its place and L_zero that with zeros there; clusters are texts.
        loss, spliced_loss, zero_loss: these losses, nats a token, over `n_loss_tokens`.
        l0: latents that fire on a token, mean.
        density: share of tokens on which each latent fires; `mean_active` its mean where it does, 0 if it never does.
        residual_norm: mean norm of a token where it writes; `norm_limit`: from which norm on a position is massive.
        n_massive: positions left out for their norm.
        data: what the texts are, and how they stand to those it was trained on.
    """

    fvu: Interval
    ce_recovered: Interval
    loss: float
    spliced_loss: float
    zero_loss: float
    l0: float
    density: Float[Tensor, " latent"]
    mean_active: Float[Tensor, " latent"]
    residual_norm: float
    norm_limit: float
    n_tokens: int
    n_loss_tokens: int
    n_texts: int
    n_massive: int
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dead(self) -> float:
        """Share of latents that never fire on these tokens: an upper bound of those that never do."""
        return float((self.density == 0).float().mean())

    @property
    def verdict(self) -> str:
        """`good`, or `poor: ` and what falls short of the stated thresholds."""
        faults = [
            f"fvu {self.fvu.estimate:.2f} of at most {MOST_FVU:g}" if not self.fvu.estimate <= MOST_FVU else "",
            f"CE recovered {self.ce_recovered.estimate:.2f} of at least {LEAST_RECOVERED:g}"
            if not self.ce_recovered.estimate >= LEAST_RECOVERED
            else "",
            f"dead latents {self.dead:.2f} of at most {MOST_DEAD:g}" if not self.dead <= MOST_DEAD else "",
        ]
        return f"poor: {', '.join(filter(None, faults))}" if any(faults) else "good"

    def histogram(self) -> dict[str, int]:
        """How many latents fire on what share of tokens, by decades and their halves; `never`: those that do not."""
        fire = self.density[self.density > 0].double().log10()
        edges = torch.tensor(DENSITY_EDGES, dtype=torch.float64)
        counts = torch.histogram(fire.clamp(DENSITY_EDGES[0], DENSITY_EDGES[-1]), edges).hist.int().tolist()
        bins = zip(DENSITY_EDGES[:-1], DENSITY_EDGES[1:], counts, strict=True)
        named = {f"10^{low:g} to 10^{high:g}": n for low, high, n in bins}
        return {"never": int((self.density == 0).sum()), **named}

    def card(self) -> dict[str, Any]:
        """All but the numbers of single latents, as plain data."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("density", "mean_active")}
        of_intervals = {name: _plain(numbers[name]) for name in ("fvu", "ce_recovered")}
        return {
            **numbers,
            **of_intervals,
            "data": dict(self.data),
            "n_latents": len(self.density),
            "dead": self.dead,
            "histogram": self.histogram(),
            "verdict": self.verdict,
        }

    def save(self, path: Path) -> None:
        """The card as JSON, with the numbers of single latents as safetensors beside it."""
        tensors = {"density": self.density, "mean_active": self.mean_active}
        save_tensors(path, tensors, kind=KIND, manifest=self.card())


def load_quality(path: Path) -> Quality:
    """What `Quality.save` wrote.

    Raises:
        ArtefactError: missing, altered, or not in the expected form.
    """
    tensors, card = load_tensors(path, kind=KIND, keys=_KEYS)
    named = {f.name for f in fields(Quality)}
    kept = {name: value for name, value in card.items() if name in named}
    intervals = {name: _interval(card[name]) for name in ("fvu", "ce_recovered")}
    latents = {name: read_floats(tensors, name, str(path), ("latent",)) for name in ("density", "mean_active")}
    return Quality(**{**kept, **intervals, **latents})


_INTERVAL = keys_of(
    {
        "estimate": number(-1e9),
        "low": or_null(number(-1e9)),
        "high": or_null(number(-1e9)),
        "n": whole(0, 10**12),
        "n_clusters": whole(0, 10**9),
        "level": number(0, 1),
        "over": text(),
    }
)
_KEYS = {
    "fvu": _INTERVAL,
    "ce_recovered": _INTERVAL,
    **{name: number(-1e9) for name in ("loss", "spliced_loss", "zero_loss", "l0", "residual_norm", "norm_limit")},
    **{name: whole(0, 10**12) for name in ("n_tokens", "n_loss_tokens", "n_texts", "n_massive")},
    "data": texts_of(ANYTHING, 10_000),
}


def _plain(interval: Interval) -> dict[str, Any]:
    made = asdict(interval)
    names = ("estimate", "low", "high", "n", "n_clusters", "level", "over")
    return {name: None if made[name] != made[name] else made[name] for name in names}


def _interval(data: Mapping[str, Any]) -> Interval:
    low, high = (float("nan") if data[name] is None else data[name] for name in ("low", "high"))
    return Interval(data["estimate"], low, high, data["n"], data["n_clusters"], data["level"], over=data["over"])
