"""Files as other tools might write them, the shape of the model that they are for, and the text of an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from persona_interp.directions.formats import ModelShape
from persona_interp.errors import PersonaInterpError

SHAPE = ModelShape("tiny-a", 3, 4)
NAME = "loud_response_avg_diff.pt"


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(content: Any, name: str = NAME) -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def control_vector(tmp_path: Path) -> Callable[..., Path]:
    """A GGUF as another tool might write it."""

    def write(tensors: dict[str, np.ndarray], *, architecture: str = "controlvector", **texts: str) -> Path:
        path = tmp_path / "foreign.gguf"
        writer = GGUFWriter(path, architecture)
        for key, text in texts.items():
            writer.add_string(key.replace("__", "."), text)
        for name, values in tensors.items():
            writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def text_of(error: type[PersonaInterpError], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value)
