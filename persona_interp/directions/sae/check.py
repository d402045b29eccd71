"""`check_dictionary`: whether a dictionary belongs to a model, a layer, a stream and a basis, by reconstruction."""

from dataclasses import dataclass, replace

import pandas as pd
import torch

from persona_interp.arguments import checked
from persona_interp.bounds import Some
from persona_interp.directions.sae.dictionary import Dictionary, check_same_place
from persona_interp.directions.sae.measure import Reconstruction
from persona_interp.directions.sae.tokens import TEXTS_AT_ONCE, massive_limit, text_rows, token_activations
from persona_interp.errors import HookpointError, IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import HookedModel
from persona_interp.statistics.streams import stream
from persona_interp.types import Hookpoint, Stream

OWN, SHUFFLED, CENTRED = "own", "coordinates shuffled", "centred"
MOST_OF_SHUFFLED = 0.8
"""A dictionary must leave at most this share of what it leaves of the same activations, coordinates shuffled, and less
than their mean leaves."""
CLEARLY = 0.8
"""Another place, or the other basis, fits clearly better where at most this share of the variance is left there."""
_STREAMS: tuple[Stream, ...] = ("resid_pre", "attn_out", "mlp_in", "mlp_out", "resid_post")


@dataclass(frozen=True, eq=False)
class DictionaryCheck:
    """What is left of a model's activations by a dictionary, at its own place and elsewhere.

    Args:
        fvu: a row a place: layer, stream, what (own, coordinates shuffled, neighbour, other basis), fvu, n_tokens.
    """

    fvu: pd.DataFrame
    norm_limit: float
    residual_norm: float

    def of(self, what: str) -> float:
        """The fvu of one kind of row, the least of several."""
        return float(self.fvu.loc[self.fvu["what"] == what, "fvu"].min())


@checked
def check_dictionary(dictionary: Dictionary, model: HookedModel, texts: Some[str]) -> DictionaryCheck:
    """Fraction of variance unexplained at a dictionary's place, beside that of shuffled activations and of neighbours.

    Names of hooks differ between tools and versions; numbers do not. The reconstruction must leave clearly less of the
    model's own activations than of the same numbers with coordinates shuffled (one permutation for all positions), and
    no neighbouring place (the layers before and after, the other streams of the block) and no other basis may be
    reconstructed clearly better. Position 0 and massive positions are left out, since they alone decide a variance.

    Args:
        texts: some; the first 32 are used.

    Raises:
        HookpointError: the model does not have its layer.
        IncompatibleDirectionError: it does not belong to this model, or not to this place in it.
    """
    check_same_place(dictionary, model)
    own = dictionary.hookpoint
    limit = dictionary.norm_limit or massive_limit(model, texts, own)
    near = _neighbours(dictionary, model)
    rows = text_rows(model.tokenizer, texts[:TEXTS_AT_ONCE], range(min(len(texts), TEXTS_AT_ONCE)))
    order = torch.from_numpy(stream(0, "shuffled coordinates").permutation(dictionary.d_in))
    names = [(OWN, own), (SHUFFLED, own), *([] if dictionary.is_transcoder else [(_other(dictionary), own)])]
    names += [("neighbour", hookpoint) for hookpoint in near]
    sums = {key: Reconstruction(len(texts), dictionary.decoder.shape[1]) for key in names}
    norms, n = 0.0, 0
    other = replace(dictionary, basis="centred" if dictionary.basis == "raw" else "raw")
    for chunk in token_activations(model, rows, list(dict.fromkeys([own, dictionary.writes, *near]))):
        for what, hookpoint in names:
            kept = chunk.kept(hookpoint, limit if hookpoint == own else None) & chunk.kept(own, limit)
            x = chunk.values[hookpoint][kept].float()
            there = chunk.values[dictionary.writes][kept].float() if dictionary.is_transcoder else x
            if what == SHUFFLED:
                x = x[:, order.to(x.device)]
                there = there if dictionary.is_transcoder else x
            made = (other if what == _other(dictionary) else dictionary).reconstruct(x)
            sums[what, hookpoint].add(there, made, chunk.texts(kept).cpu().numpy())
            if what == OWN:
                norms, n = norms + float(there.norm(dim=-1).sum()), n + len(x)
    frame = pd.DataFrame(
        [
            {"what": what, "layer": h.layer, "stream": h.stream, "fvu": made.fvu, "n_tokens": int(made.n.sum())}
            for (what, h), made in sums.items()
        ]
    )
    found = DictionaryCheck(frame, limit, norms / max(1, n))
    _refuse(dictionary, model, found)
    return found


def _other(dictionary: Dictionary) -> str:
    return "centred basis" if dictionary.basis == "raw" else "raw basis"


def _neighbours(dictionary: Dictionary, model: HookedModel) -> list[Hookpoint]:
    """Places of the same width near to where a dictionary reads."""
    own = dictionary.hookpoint
    if dictionary.d_in != model.d_model:
        return []
    layers = [Hookpoint(layer, own.stream) for layer in (own.layer - 1, own.layer + 1) if 0 <= layer < model.n_layers]
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
    told = f"of {model.name} at {dictionary.hookpoint}"
    others = found.fvu[~found.fvu["what"].isin([OWN, SHUFFLED])]
    best = others.loc[others["fvu"].idxmin()] if len(others) else None
    if best is not None and best["fvu"] <= min(CLEARLY * own, MOST_OF_SHUFFLED):
        if best["what"] == "neighbour":
            place = f'hookpoint=Hookpoint({best["layer"]}, "{best["stream"]}")'
            advice = f"It was trained there: load_sae(source, {place})."
        else:
            advice = f'It was trained in the other basis: load_sae(source, basis="{best["what"].split()[0]}").'
        place = f"{best['stream']} at layer {best['layer']}" if best["what"] == "neighbour" else f"the {best['what']}"
        raise IncompatibleDirectionError(
            f"{named} leaves {own:.2f} of the variance {told}, and {best['fvu']:.2f} of {place}.", advice
        )
    if not (own < 1 and own <= MOST_OF_SHUFFLED * shuffled):
        raise IncompatibleDirectionError(
            f"{named} leaves {own:.2f} of the variance {told}, and {shuffled:.2f} of it with coordinates shuffled.",
            "It belongs to another model, layer, stream or basis, or its normalisation is not what its file says.",
        )
