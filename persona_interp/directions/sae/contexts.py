"""`top_contexts`: where in texts latents are largest, with the tokens around."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from transformers import PreTrainedTokenizerBase

from persona_interp.arguments import checked
from persona_interp.bounds import Count, Some
from persona_interp.directions.sae.dictionary import Dictionary, check_same_place
from persona_interp.directions.sae.tokens import TEXTS_AT_ONCE, all_rows, token_activations
from persona_interp.models.protocol import HookedModel
from persona_interp.progress import track


@dataclass(frozen=True)
class Context:
    """Tokens around the place where a latent is largest in a text.

    Args:
        rank: 0 is the largest of all texts; `text` the number of the text, `position` of the token in it.
        activation: of the latent at that token; `activations` at every token that is shown, in its units.
        peak: which of the tokens it is.
    """

    latent: int
    rank: int
    text: int
    position: int
    activation: float
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: int

    def shades(self, largest: float | None = None) -> tuple[float, ...]:
        """0 to 1 for every token: its activation as a share of the largest one, by default of this context."""
        most = self.activation if largest is None else largest
        return tuple(min(1.0, value / most) if most > 0 else 0.0 for value in self.activations)


@checked
def top_contexts(
    model: HookedModel,
    dictionary: Dictionary,
    latents: Some[int],
    texts: Some[str],
    *,
    n: Count = 5,
    before: Count = 12,
    after: Count = 6,
    progress: bool = True,
) -> dict[int, tuple[Context, ...]]:
    """For every latent the n texts in which it is largest, one context a text, the largest first.

    Only the best of each latent are kept, so memory does not grow with the number of texts. The start token and massive
    positions are left out; a latent that never fires has no context.

    Args:
        texts: as the model sees them.
        before: tokens shown before the largest one, and `after` it.

    Raises:
        ConfigError: there is no such latent, or one is given twice.
        IncompatibleDirectionError: the dictionary is of another width or model.
    """
    check_same_place(dictionary, model)
    reader, read = dictionary.some(list(latents)), dictionary.hookpoint
    best: list[list[tuple[float, int, int, Context]]] = [[] for _ in latents]
    n_chunks = -(-len(texts) // TEXTS_AT_ONCE)
    for rows in track(all_rows(model.tokenizer, texts), "top contexts", total=n_chunks, show=progress):
        for chunk in token_activations(model, rows, [read]):
            kept = chunk.kept(read, dictionary.norm_limit)
            for k, row in enumerate(chunk.rows):
                places = kept[k].nonzero()[:, 0]
                if not len(places):
                    continue
                found = reader.encode(chunk.values[read][k, places].float()).cpu()
                start = chunk.batch.ids.shape[1] - len(row.ids)
                at = (places.cpu() - start).tolist()
                for j, (value, where) in enumerate(zip(*found.max(0), strict=True)):
                    key = (float(value), -row.text, -row.place)
                    if key[0] <= 0 or (len(best[j]) == n and key <= best[j][0][:3]):
                        continue
                    context = _context(
                        model.tokenizer, latents[j], row.text, row.place, row.ids, at, found[:, j].tolist(),
                        at[int(where)], (before, after),
                    )  # fmt: skip
                    _keep(best[j], (*key, context), n)
    return {
        latent: tuple(
            Context(**{**vars(context), "rank": rank})
            for rank, (*_, context) in enumerate(sorted(heap, key=lambda one: one[:3], reverse=True))
        )
        for latent, heap in zip(latents, best, strict=True)
    }


def contexts_frame(contexts: dict[int, tuple[Context, ...]]) -> pd.DataFrame:
    """A row a token that is shown: latent, rank, text, position, token, activation, is_peak."""
    rows = [
        {
            "latent": latent,
            "rank": one.rank,
            "text": one.text,
            "position": one.position - one.peak + k,
            "token": token,
            "activation": value,
            "is_peak": k == one.peak,
        }
        for latent, several in contexts.items()
        for one in several
        for k, (token, value) in enumerate(zip(one.tokens, one.activations, strict=True))
    ]
    return pd.DataFrame(rows, columns=["latent", "rank", "text", "position", "token", "activation", "is_peak"])


def _keep(heap: list[tuple[float, int, int, Context]], entry: tuple[float, int, int, Context], n: int) -> None:
    """Put one in; of a text that is there already the larger stays, of all the n largest."""
    same = next((k for k, one in enumerate(heap) if one[1] == entry[1]), None)
    if same is not None:
        if entry[:3] > heap[same][:3]:
            heap[same] = entry
            heapq.heapify(heap)
        return
    heapq.heappush(heap, entry)
    if len(heap) > n:
        heapq.heappop(heap)


def _context(
    tokenizer: PreTrainedTokenizerBase,
    latent: int,
    text: int,
    place: int,
    ids: Sequence[int],
    at: Sequence[int],
    values: Sequence[float],
    peak: int,
    around: tuple[int, int],
) -> Context:
    start, stop = max(1, peak - around[0]), min(len(ids), peak + around[1] + 1)
    known = dict(zip(at, values, strict=True))
    return Context(
        latent=latent,
        rank=0,
        text=text,
        position=place + peak - 1,
        activation=known[peak],
        tokens=tuple(str(tokenizer.decode([ids[k]])) for k in range(start, stop)),
        activations=tuple(known.get(k, 0.0) for k in range(start, stop)),
        peak=peak - start,
    )
