"""Files of `torch.save`, which are pickles: read as tensors and plain containers only, or not at all."""

import pickle
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from persona_interp.errors import ArtefactError
from persona_interp.io import atomic_write_bytes, read_bytes, sha256_bytes


def load_torch_file(path: Path) -> tuple[Any, str]:
    """What a `.pt` file holds, and the SHA-256 of its bytes.

    Only tensors, numbers, texts and plain containers are rebuilt (`weights_only=True`); nothing in the file can run.

    Raises:
        ArtefactError: missing, truncated, or it asks for anything else.
    """
    data = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols: what cannot be read is an error here
            return torch.load(BytesIO(data), map_location="cpu", weights_only=True), sha256_bytes(data)
    except pickle.UnpicklingError as error:
        raise ArtefactError(
            f"{path.name} was not loaded: it is damaged, or holds more than tensors and plain containers.",
            "A .pt file is a pickle, which can run code when it is read; nothing of this one was run.",
            "Have its maker save the tensors alone: torch.save(vectors, path), a tensor or a dict of tensors.",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtefactError(
            f"{path.name} is not a whole .pt file: {reason}.", "It may be truncated. Restore it or download it again."
        ) from error


def save_torch_file(content: Any, path: Path) -> None:
    """Tensors and plain containers as a `.pt` file, written whole or not at all."""
    buffer = BytesIO()
    torch.save(content, buffer)
    atomic_write_bytes(path, buffer.getvalue())
