"""`measure_dictionary`: fvu, loss recovered, sparsity and densities of a dictionary on texts it was not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Some
from persona_interp.directions.sae.dictionary import NUMBERS_AT_ONCE, Dictionary, check_same_place
from persona_interp.directions.sae.quality import Quality
from persona_interp.directions.sae.splice import reconstruction_edits
from persona_interp.directions.sae.tokens import (
    TEXTS_AT_ONCE,
    all_rows,
    first_texts,
    massive_limit,
    row_batches,
    token_activations,
)
from persona_interp.errors import EmptySelectionError
from persona_interp.models.protocol import HookedModel
from persona_interp.progress import track
from persona_interp.statistics.means import bootstrap_ratio
from persona_interp.statistics.resampling import Interval
from persona_interp.types import NO_EDITS, Edits

MOST_TOKENS, MOST_LOSS_TOKENS = 16_384, 4_096


class Reconstruction:
    """Sums over the tokens of each text: what is left after reconstruction, and what there was."""

    def __init__(self, n_texts: int, d_out: int) -> None:
        self.left = np.zeros(n_texts)
        self.squares = np.zeros(n_texts)
        self.sums = np.zeros((n_texts, d_out))
        self.n = np.zeros(n_texts, dtype=int)

    def add(
        self,
        values: Float[Tensor, "token d_out"],
        made: Float[Tensor, "token d_out"],
        texts: np.ndarray,
    ) -> None:
        """Count tokens in."""
        values = values.double().cpu()
        np.add.at(self.left, texts, (values - made.double().cpu()).square().sum(-1).numpy())
        np.add.at(self.squares, texts, values.square().sum(-1).numpy())
        np.add.at(self.sums, texts, values.numpy())
        np.add.at(self.n, texts, 1)

    @property
    def variances(self) -> Float[np.ndarray, " text"]:
        """Sum of |x - mean x|^2 over the tokens of each text, the mean being that of all tokens."""
        mean = self.sums.sum(0) / max(1, self.n.sum())
        return self.squares - 2 * self.sums @ mean + self.n * (mean @ mean)

    @property
    def shares(self) -> Float[np.ndarray, " text"]:
        """What is left of the variance of each text; NaN of one without tokens."""
        with np.errstate(all="ignore"):
            return self.left / self.variances

    @property
    def fvu(self) -> float:
        """Fraction of variance unexplained."""
        return float(self.left.sum() / self.variances.sum())


@checked
def measure_dictionary(
    model: HookedModel,
    dictionary: Dictionary,
    texts: Some[str],
    *,
    data: Mapping[str, Any] | None = None,
    most_tokens: Count = MOST_TOKENS,
    most_loss_tokens: Count = MOST_LOSS_TOKENS,
    progress: bool = True,
) -> Quality:
    """How well a dictionary reconstructs the activations of texts, what its reconstruction costs, how sparse it is.

    Position 0 and massive positions (`tokens.MASSIVE` times the median norm) are left out everywhere: they hold most of
    the variance of a residual stream and say nothing of a text. Beginnings that a text shares with the one before it
    count once. In the spliced runs the other positions stay as they are.

    Args:
        texts: as the model sees them, none of which it was trained on.
        data: what to keep of where they come from.
        most_tokens: the first texts up to so many tokens are measured, and the three losses are of those of them up to
            `most_loss_tokens`.

    Raises:
        EmptySelectionError: no token is left.
        IncompatibleDirectionError: the dictionary is of another width or model.
    """
    check_same_place(dictionary, model)
    limit = dictionary.norm_limit or massive_limit(model, texts, dictionary.hookpoint)
    sums, n = Reconstruction(len(texts), dictionary.decoder.shape[1]), dictionary.n_latents
    fired, total = torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.float64)
    norms, n_massive, read = 0.0, 0, list(dict.fromkeys([dictionary.hookpoint, dictionary.writes]))
    texts = first_texts(model.tokenizer, texts, most_tokens)
    n_chunks = -(-len(texts) // TEXTS_AT_ONCE)
    for rows in track(all_rows(model.tokenizer, texts), "quality: reconstruction", total=n_chunks, show=progress):
        for chunk in token_activations(model, rows, read):
            kept = chunk.kept(dictionary.hookpoint, limit)
            n_massive += int(chunk.batch.response.sum()) - int(kept.sum())
            x = chunk.values[dictionary.hookpoint][kept].float()
            there = chunk.values[dictionary.writes][kept.to(chunk.values[dictionary.writes].device)].float()
            norms += float(there.norm(dim=-1).sum())
            made = []
            for part in x.split(max(1, NUMBERS_AT_ONCE // n)):
                latents = dictionary.encode(part)
                made.append(dictionary.decode(latents, like=part).float())
                fired += (latents > 0).sum(0).cpu()
                total += latents.double().sum(0).cpu()
            if made:
                sums.add(there, torch.cat(made).to(there.device), chunk.texts(kept).cpu().numpy())
    n_tokens = int(sums.n.sum())
    if not n_tokens:
        raise EmptySelectionError("the texts have no token to measure a dictionary on.", "Give longer texts.")
    scored_texts = first_texts(model.tokenizer, texts, most_loss_tokens)
    clean, spliced, zero = _losses(model, dictionary, scored_texts, limit, progress)
    had = sums.n > 0
    cost, lost = zero[0] - clean[0], zero[0] - spliced[0]
    scored = clean[1] > 0
    return Quality(
        fvu=_over_texts(sums.left[had], sums.variances[had]),
        ce_recovered=_over_texts(lost[scored], cost[scored]),
        loss=_mean(clean),
        spliced_loss=_mean(spliced),
        zero_loss=_mean(zero),
        l0=float(fired.sum()) / n_tokens,
        density=fired.float() / n_tokens,
        mean_active=(total / fired.clamp(min=1)).float(),
        residual_norm=norms / n_tokens,
        norm_limit=limit,
        n_tokens=n_tokens,
        n_loss_tokens=int(clean[1].sum()),
        n_texts=int(had.sum()),
        n_massive=n_massive,
        data=dict(data or {}),
    )


_Losses = tuple[Float[np.ndarray, " text"], np.ndarray]


def _losses(
    model: HookedModel, dictionary: Dictionary, texts: Sequence[str], limit: float, progress: bool
) -> tuple[_Losses, _Losses, _Losses]:
    """Summed loss and tokens of every text: as it is, with the reconstruction, and with zeros."""
    limited = replace(dictionary, norm_limit=limit)
    ways: list[Edits] = [
        NO_EDITS,
        reconstruction_edits(limited, "reconstruct", "response"),
        reconstruction_edits(limited, "zero", "response"),
    ]
    rows = [row for some in all_rows(model.tokenizer, texts) for row in some]
    found: list[_Losses] = []
    for edits in track(ways, "quality: losses", total=3, show=progress):
        losses, n = np.zeros(len(texts)), np.zeros(len(texts), dtype=int)
        for batch, chunk in row_batches(model, rows):
            made = model.run(batch, outputs="token_logprobs", edits=edits).token_logprobs
            assert made is not None, "log-probabilities were asked for"
            for row, logprobs, response in zip(chunk, made.double().cpu(), batch.response, strict=True):
                losses[row.text] -= float(logprobs[response].sum())
                n[row.text] += int(response.sum())
        found.append((losses, n))
    return found[0], found[1], found[2]


def _mean(losses: _Losses) -> float:
    return float(losses[0].sum() / losses[1].sum())


def _over_texts(above: Float[np.ndarray, " text"], below: Float[np.ndarray, " text"]) -> Interval:
    return replace(bootstrap_ratio(above, below, np.arange(len(above))), over="text")
