"""How fast a model runs here, measured: tokens a second, written one after another and read at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import text_batch, token_batch

_ROWS, _WRITTEN, _READ = 32, 4, 64
_TEXT = "Say what you see when you look out of the window in the morning."


@dataclass(frozen=True)
class Speed:
    """Tokens a second of a batch: `written` when generating, `read` in one pass with log-probabilities."""

    written: float
    read: float


def measure_speed(model: HookedModel, *, seconds: float = 2.0) -> Speed:
    """The speed of a model on this machine, from about so many seconds of it.

    A short round comes first and is not counted: caches and threads are made in it.
    """
    batch = text_batch(model.tokenizer, [f"{_TEXT} {k}" for k in range(_ROWS)])
    prompt = tuple(range(3, 3 + _READ // 2))
    text = token_batch([prompt] * _ROWS, [tuple(range(40 + k, 40 + k + _READ)) for k in range(_ROWS)], pad_id=0)

    def write(n_tokens: int) -> int:
        made = model.generate(batch, sampling=Sampling(n_tokens, temperature=1.0))
        return sum(max(1, len(ids)) for ids in made.ids)

    def read() -> int:
        model.run(text, outputs="token_logprobs")
        return _ROWS * _READ

    write(1)
    return Speed(_rate(lambda: write(_WRITTEN), seconds / 2), _rate(read, seconds / 2))


def _rate(work: Callable[[], int], seconds: float) -> float:
    """Tokens a second of repeated work, at least once."""
    start, done = time.monotonic(), 0
    while True:
        done += work()
        if (spent := time.monotonic() - start) >= seconds:
            return done / spent


def matrix_speed(*, seconds: float = 0.5, size: int = 1024, dtype: torch.dtype = torch.float32) -> float:
    """Operations a second of this machine in matrix products, by which times of different machines compare."""
    a, b = torch.randn(2, size, size).to(dtype)
    product = a @ b
    start, n = time.monotonic(), 0
    while (spent := time.monotonic() - start) < seconds:
        product = a @ b
        n += 1
    assert product.shape == a.shape, "so that no product is left out"
    return n * 2 * size**3 / spent
