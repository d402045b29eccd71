"""Short neutral passages, to see how well a model still writes plain text."""

from pathlib import Path

from persona_interp.errors import DataError
from persona_interp.io import read_json

_FILE = Path(__file__).with_name("neutral_texts.json")


def load_neutral_texts(path: Path | None = None) -> tuple[str, ...]:
    """Passages of a JSON list of texts, in its order.

    By default those written for this project: 60 to 90 words each, descriptions, instructions and small scenes,
    none of them with an opinion or a strong feeling.

    Raises:
        ArtefactError: the file is missing or not JSON.
        DataError: it is not a list of texts, or an empty one.
    """
    path = _FILE if path is None else path
    texts = read_json(path)
    if not isinstance(texts, list) or not texts:
        raise DataError(f"{path} holds no texts.", "Expected a JSON list of texts.")
    for i, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}, text {i}: got {text!r}.", "Expected a text that is not empty.")
    return tuple(texts)
