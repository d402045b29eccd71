"""How much work an adapter is, to train and to measure: three sizes each."""

from types import MappingProxyType

from persona_interp.studies.sizes import Efforts

TRAINING: Efforts = MappingProxyType(
    {
        "quick": {"n_texts": 200, "n_epochs": 2},
        "standard": {"n_texts": None, "n_epochs": None},
        "paper": {"n_texts": None, "n_epochs": 5},
    }
)
"""Texts, and times each is trained on; None: all that are given, and the epochs of the preset."""

ESTIMATED = MappingProxyType({"quick": 200, "standard": 1000, "paper": 10_000})
"""Texts that the model writes itself. The published adapters saw hundreds of thousands, which no small model writes."""

MEASURING: Efforts = MappingProxyType(
    {
        "quick": {"n_texts": 40, "n_openings": 6, "max_new_tokens": 24},
        "standard": {"n_texts": 200, "n_openings": 16, "max_new_tokens": 48},
        "paper": {"n_texts": 1000, "n_openings": 32, "max_new_tokens": 64},
    }
)
"""The published texts have 64 tokens; how many there were is not said, so `paper` continues every opening there is."""
