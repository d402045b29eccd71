"""`check_dictionary`: whether a dictionary belongs to a model, a layer, a stream and a basis, by reconstruction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.directions.sae.dictionary import Dictionary, check_same_place
from persona_interp.directions.sae.measure import Reconstruction
from persona_interp.directions.sae.tokens import (
    MASSIVE,
    Row,
    TokenActivations,
    massive_limit,
    text_rows,
    token_activations,
)
from persona_interp.errors import EmptySelectionError, HookpointError, IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import HookedModel
from persona_interp.statistics.streams import stream
from persona_interp.types import Hookpoint, Stream

OWN, SHUFFLED, ELSEWHERE, OTHER_BASIS = "own", "coordinates shuffled", "elsewhere", "other basis"
MOST_OF_SHUFFLED = 0.8
"""A dictionary must leave at most this share of what it leaves of the same activations, coordinates shuffled, and less
than their mean leaves."""
BETTER, OF_TEXTS = 0.95, 0.9
"""Another place, or the other basis, fits better where it leaves at most this share of what is left at a dictionary's
own, and less in at least this share of texts."""
TEXTS, TOKENS = 16, 1024
"""At most, of a check: every place is reconstructed."""
_STREAMS: tuple[Stream, ...] = ("resid_pre", "attn_out", "mlp_in", "mlp_out", "resid_post")


@dataclass(frozen=True, eq=False)
class DictionaryCheck:
    """What is left of a model's activations by a dictionary, at its own place and elsewhere.

    Args:
        fvu: a row a place: what (own, coordinates shuffled, other basis, elsewhere), layer, stream, fvu, of_texts (the
            share of texts in which less is left than at its own place), n_tokens.
    """

    fvu: pd.DataFrame
    norm_limit: float
    residual_norm: float

    def of(self, what: str) -> float:
        """The fvu of one kind of row, the least of several."""
        return float(self.fvu.loc[self.fvu["what"] == what, "fvu"].min())


@checked
def check_dictionary(dictionary: Dictionary, model: HookedModel, texts: Some[str]) -> DictionaryCheck:
    """Fraction of variance unexplained at a dictionary's place, beside that of shuffled activations and elsewhere.

    Names of hooks differ between tools and versions; numbers do not. The reconstruction must leave clearly less of the
    model's own activations than of the same numbers with coordinates shuffled (one permutation for all positions), and
    no other place (the same stream of all layers, the other streams of the block) and no other basis may be
    reconstructed better, in nearly all texts. Position 0 and massive positions are left out, since they alone decide a
    variance.

    Args:
        texts: some; the first 16 are used, up to 1,024 tokens.

    Raises:
        EmptySelectionError: fewer than two tokens are left.
        HookpointError: the model does not have its layer.
        IncompatibleDirectionError: it does not belong to this model, or not to this place in it.
    """
    check_same_place(dictionary, model)
    own, some = dictionary.hookpoint, texts[:TEXTS]
    limit = dictionary.norm_limit or massive_limit(model, some, own)
    rows = _few(text_rows(model.tokenizer, some, range(len(some))))
    places = [(OWN, own), (SHUFFLED, own), *(() if dictionary.is_transcoder else ((OTHER_BASIS, own),))]
    places += [(ELSEWHERE, hookpoint) for hookpoint in _elsewhere(dictionary, model)]
    sums = {key: Reconstruction(len(some), dictionary.decoder.shape[1]) for key in places}
    order = torch.from_numpy(stream(0, "shuffled coordinates").permutation(dictionary.d_in))
    other = replace(dictionary, basis="centred" if dictionary.basis == "raw" else "raw")
    norms, read = 0.0, [hookpoint for _, hookpoint in places]
    read = list(dict.fromkeys([*read, *(_written(dictionary, hookpoint) for hookpoint in read)]))
    for chunk in token_activations(model, rows, read, tokens_at_once=TOKENS):
        for what, hookpoint in places:
            kept = chunk.kept(own, limit).cpu() & chunk.kept(hookpoint, _limit(chunk, hookpoint)).cpu()
            x = chunk.values[hookpoint][kept].float()
            there = chunk.values[_written(dictionary, hookpoint)][kept].float()
            if what == SHUFFLED:
                x = x[:, order.to(x.device)]
                there = there if dictionary.is_transcoder else x
            made = (other if what == OTHER_BASIS else dictionary).reconstruct(x)
            sums[what, hookpoint].add(there, made, chunk.texts(kept).numpy())
            norms += float(there.norm(dim=-1).sum()) if what == OWN else 0.0
    at_own = sums[OWN, own]
    if at_own.n.sum() < 2:
        raise EmptySelectionError(
            f"the texts that {dictionary.id} is checked on have {at_own.n.sum()} tokens that are not massive.",
            "Give longer texts: load_sae(..., texts=...).",
        )
    frame = pd.DataFrame(
        [
            {
                "what": what,
                "layer": h.layer,
                "stream": h.stream,
                "fvu": made.fvu,
                "of_texts": float(np.mean((made.shares < at_own.shares)[at_own.n > 0])),
                "n_tokens": int(made.n.sum()),
            }
            for (what, h), made in sums.items()
        ]
    )
    found = DictionaryCheck(frame, limit, norms / max(1, int(at_own.n.sum())))
    _refuse(dictionary, model, found)
    return found


def _few(rows: Sequence[Row]) -> list[Row]:
    """The first rows, up to so many tokens."""
    kept: list[Row] = []
    for row in rows:
        if not kept or sum(len(one.ids) for one in kept) + len(row.ids) <= TOKENS:
            kept.append(row)
    return kept


def _limit(chunk: TokenActivations, hookpoint: Hookpoint) -> float:
    """The norm from which on a position is massive elsewhere."""
    norms = chunk.values[hookpoint][chunk.kept(hookpoint, None)].float().norm(dim=-1)
    return MASSIVE * float(norms.median()) if len(norms) else 0.0


def _written(dictionary: Dictionary, hookpoint: Hookpoint) -> Hookpoint:
    """Where a dictionary that reads at a place would write."""
    if not dictionary.is_transcoder:
        return hookpoint
    return Hookpoint(hookpoint.layer + dictionary.writes.layer - dictionary.hookpoint.layer, dictionary.writes.stream)


def _elsewhere(dictionary: Dictionary, model: HookedModel) -> list[Hookpoint]:
    """The same stream of other layers, and other streams of the same width of the block."""
    own = dictionary.hookpoint
    reach = dictionary.writes.layer - own.layer
    layers = [Hookpoint(k, own.stream) for k in range(model.n_layers - reach) if k != own.layer]
    if dictionary.is_transcoder or dictionary.d_in != model.d_model:
        return layers
    same = {"resid_pre": "resid_post", "resid_post": "resid_pre"}.get(own.stream)  # those of a layer before or after
    streams = [Hookpoint(own.layer, s) for s in _STREAMS if s not in (own.stream, same)]
    return [*layers, *(hookpoint for hookpoint in streams if _reached(model, hookpoint))]


def _reached(model: HookedModel, hookpoint: Hookpoint) -> bool:
    """Whether a model gives what is there."""
    if not isinstance(model, HookedModelBase):
        return True
    try:
        model.check_hookpoints([hookpoint])
    except HookpointError:
        return False
    return True


def _refuse(dictionary: Dictionary, model: HookedModel, found: DictionaryCheck) -> None:
    own, shuffled = found.of(OWN), found.of(SHUFFLED)
    named = f"the dictionary {dictionary.id} of {dictionary.metadata.get('model_name') or 'an unnamed model'}"
    told = f"leaves {own:.2f} of the variance of {model.name} at {dictionary.hookpoint}"
    others = found.fvu[found.fvu["what"].isin([ELSEWHERE, OTHER_BASIS])]
    better = others[(others["fvu"] <= min(BETTER * own, MOST_OF_SHUFFLED)) & (others["of_texts"] >= OF_TEXTS)]
    if len(better):
        best = better.loc[better["fvu"].idxmin()]
        if best["what"] == ELSEWHERE:
            where = f"at {best['stream']} at layer {best['layer']}"
            advice = f'load_sae(..., hookpoint=Hookpoint({best["layer"]}, "{best["stream"]}"))'
        else:
            basis = "centred" if dictionary.basis == "raw" else "raw"
            where, advice = f"in the {basis} basis", f'load_sae(..., basis="{basis}")'
        raise IncompatibleDirectionError(
            f"{named} {told}, and {best['fvu']:.2f} {where}.", f"It seems to have been trained there: {advice}."
        )
    if not (own < 1 and own <= MOST_OF_SHUFFLED * shuffled):
        raise IncompatibleDirectionError(
            f"{named} {told}, and {shuffled:.2f} of it with coordinates shuffled.",
            "It belongs to another model, layer, stream or basis, or its normalisation is not what its file says.",
        )
