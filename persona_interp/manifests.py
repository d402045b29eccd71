"""What the manifests of artefacts must say: one form of each, checked where they are read."""

from persona_interp.records import (
    ANYTHING,
    Kinds,
    fields,
    list_of,
    long_text,
    name,
    one_of,
    or_null,
    text,
    texts_of,
    whole,
)
from persona_interp.records import number as number
from persona_interp.types import POOLINGS, STREAMS

MOST_LAYERS, MOST_WIDTH = 10_000, 1_000_000
_TEXT, _LONG = text(1000), long_text(100_000)

HOOKPOINT = fields({"layer": whole(0, MOST_LAYERS), "stream": one_of(STREAMS)})
HOOKPOINTS = list_of(HOOKPOINT, 1, 4 * MOST_LAYERS)
PROVENANCE = fields(
    {
        "model": text(4096),
        "weights": _TEXT,
        "backend": _TEXT,
        "dtype": _TEXT,
        "n_layers": whole(1, MOST_LAYERS),
        "d_model": whole(1, MOST_WIDTH),
        "method": _TEXT,
        "method_version": whole(0, MOST_WIDTH),
    },
    {
        "pooling": or_null(_TEXT),
        "basis": _TEXT,
        "layer_convention": _TEXT,
        "seed": or_null(whole(-(2**63), 2**64)),
        "files": or_null(_TEXT),
        "chat_template": or_null(_LONG),
        "versions": texts_of(_TEXT),
        "details": texts_of(ANYTHING, 10_000),
    },
)
DIRECTION: Kinds = {
    "hookpoints": HOOKPOINTS,
    "trait": name("trait"),
    "method": _TEXT,
    "positive_pole": _TEXT,
    "provenance": PROVENANCE,
}
SAE_DECOMPOSITION: Kinds = {
    "hookpoints": list_of(HOOKPOINT, 1, 1),
    "latents": list_of(whole(0, 10 * MOST_WIDTH), 0, MOST_WIDTH),
    "fvu": number(0),
    "sae_id": text(4096),
    "sae_weights": _TEXT,
    "sae_quality": _TEXT,
    "method": one_of(("cosine", "latent_difference", "pursuit")),
    "trait": name("trait"),
    "direction_method": _TEXT,
    "provenance": PROVENANCE,
}
ACTIVATIONS: Kinds = {"hookpoints": HOOKPOINTS, "pooling": one_of(POOLINGS), "provenance": PROVENANCE}
PSYCHADAPTER: Kinds = {
    "shape": fields(
        {
            "n_layers": whole(1, MOST_LAYERS),
            "n_kv_heads": whole(1, MOST_WIDTH),
            "d_head": whole(1, MOST_WIDTH),
        }
    ),
    "traits": list_of(name("trait"), 1, MOST_LAYERS),
    "standard": or_null(
        fields(
            {
                "mean": list_of(number(float("-inf")), 1, MOST_LAYERS),
                "std": list_of(number(0), 1, MOST_LAYERS),
            }
        )
    ),
    "provenance": PROVENANCE,
}
