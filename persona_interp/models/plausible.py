"""What a model's files say of it, looked at before anything is built by it: sizes, and a chat template that ends."""

import ctypes
import threading
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from persona_interp.errors import ModelError
from persona_interp.models.file_hashes import weight_files
from persona_interp.models.sources import EXPECTED

_MOST_LAYERS, _MOST_WIDE, _MOST_PER_BYTE = 1000, 2**24, 16
_MOST_TEMPLATE, _TEMPLATE_S = 10**6, 3.0
_SIZES = ("hidden_size", "vocab_size", "intermediate_size", "num_attention_heads")


def check_config_file(folder: Path, name: str) -> None:
    """Refuse a folder whose config.json is not there or is no size that settings have.

    Raises:
        ModelError: the same.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"cannot load {name}: {path} is no file.", EXPECTED)
    if path.stat().st_size > 2**24:
        raise ModelError(f"cannot load {name}: its config.json has {path.stat().st_size} bytes.", "It is no settings.")


def check_sizes(config: PreTrainedConfig, place: str, name: str) -> None:
    """Refuse sizes that no model has, or that the weights in a folder are too few for.

    Raises:
        ModelError: the same.
    """
    text = config.get_text_config(decoder=True)
    n_layers: Any = getattr(text, "num_hidden_layers", None)
    if not _is_count(n_layers, _MOST_LAYERS):
        raise ModelError(
            f"cannot load {name}: its config.json says it has {str(n_layers)[:40]} layers.",
            f"Expected num_hidden_layers from 1 to {_MOST_LAYERS}.",
        )
    sizes = {key: getattr(text, key) for key in _SIZES if getattr(text, key, None) is not None}
    for key, value in sizes.items():
        if not all(_is_count(one, _MOST_WIDE) for one in (value if isinstance(value, list | tuple) else [value])):
            raise ModelError(f"cannot load {name}: its config.json says {key} = {str(value)[:60]}.", "Expected a size.")
    folder = Path(place)
    if not folder.is_dir():
        return
    files = [folder / file for file in weight_files(folder)]
    held = _MOST_PER_BYTE * sum(file.stat().st_size for file in files if file.is_file())
    least = max(sizes.get("vocab_size", 1), n_layers) * sizes.get("hidden_size", 1)
    if least > held > 0:
        raise ModelError(
            f"cannot load {name}: by its config.json it has at least {least} weights, more than its files hold.",
            "The files are cut off, or config.json is of another model.",
        )


def check_template(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a chat template that is too long, fails, or does not end.

    Raises:
        ModelError: the same. What a template says itself of an order of roles is no failure.
    """
    template = tokenizer.chat_template
    if template is None:
        return
    if (length := len(str(template))) > _MOST_TEMPLATE:
        raise ModelError(f"cannot load {name}: its chat template has {length} characters.", "Real ones have thousands.")
    failed = _failure(tokenizer)
    if failed is not None:
        raise ModelError(
            f"cannot load {name}: its chat template {failed}.", "Take the template of the model that it was made from."
        )


def _failure(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What goes wrong where one question is rendered, in a thread that is ended after some seconds."""
    found: list[str | None] = [f"does not end within {_TEMPLATE_S:.0f} s"]

    def render() -> None:
        try:
            tokenizer.apply_chat_template([{"role": "user", "content": "Who are you?"}], tokenize=False)
            found[0] = None
        except SystemExit:  # it was ended
            return
        except TemplateError as error:
            refused = type(error) is TemplateError  # raise_exception of a template
            found[0] = None if refused else f"is damaged: {str(error)[:160]}"
        except Exception as error:
            found[0] = f"fails: {type(error).__name__}: {' '.join(str(error).split())[:160]}"

    thread = threading.Thread(target=render, daemon=True)
    thread.start()
    thread.join(_TEMPLATE_S)
    if thread.is_alive() and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
    return found[0]


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
