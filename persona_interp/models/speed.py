"""How fast a model runs here, measured: tokens a second, written one after another and read at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import HookedModel, Sampling
from persona_interp.models.tokens import text_batch, token_batch

_ROWS, _WRITTEN, _READ = 32, 4, 64
_TRAINED_ROWS = 8
_BACKWARD = 3
"""A forward and a backward pass in forward passes, where nothing else was measured."""
_FULL = torch.float32
_TEXT = "Say what you see when you look out of the window in the morning."


@dataclass(frozen=True)
class Speed:
    """Tokens a second of a batch: `written` when generating, `read` in one pass with log-probabilities.

    Args:
        trained: forward and backward; 0 where it was not measured, as are the other two of a model in training.
    """

    written: float
    read: float
    trained: float = 0.0

    def seconds(self, written: int, read: int, trained: int) -> float:
        """How long so many tokens take; those trained count as three read where training was not measured."""
        back = self.trained or self.read / _BACKWARD
        parts = (written, self.written), (read, self.read or self.trained * _BACKWARD), (trained, back)
        return float(sum(n / speed for n, speed in parts if n))

    def words(self) -> str:
        """What was measured, in words."""
        told = (self.written, "written"), (self.read, "read"), (self.trained, "trained")
        first, *rest = [(f"{speed:,.0f}", name) for speed, name in told if speed]
        return " and ".join([f"{first[0]} tokens a second {first[1]}", *(f"{n} {name}" for n, name in rest)])


def measure_speed(model: HookedModel, *, seconds: float = 2.0, writes: bool = True, reads: bool = True) -> Speed:
    """The speed of a model on this machine, from about so many seconds of it.

    A short round comes first and is not counted: caches and threads are made in it.

    Args:
        writes, reads: which of the two is measured.
    """
    batch = text_batch(model.tokenizer, [f"{_TEXT} {k}" for k in range(_ROWS)])
    context = model.max_positions if isinstance(model, HookedModelBase) else 2 * _READ
    n_read = max(2, min(_READ, context // 2))
    prompt = tuple(range(3, 3 + n_read // 2))
    text = token_batch([prompt] * _ROWS, [tuple(range(40 + k, 40 + k + n_read)) for k in range(_ROWS)], pad_id=0)

    def write(n_tokens: int) -> int:
        made = model.generate(batch, sampling=Sampling(n_tokens, temperature=1.0))
        return sum(max(1, len(ids)) for ids in made.ids)

    def read() -> int:
        model.run(text, outputs="token_logprobs")
        return _ROWS * n_read

    if writes:
        write(1)
    each = seconds / 2 if writes and reads else seconds
    written = _rate(lambda: write(_WRITTEN), each) if writes else 0.0
    return Speed(written, _rate(read, each) if reads else 0.0)


def measure_training_speed(model: PreTrainedModel | PeftModel, *, seconds: float = 2.0) -> Speed:
    """The speed of training on a plain model, from about so many seconds: gradients of what is trained, or of inputs.

    Nothing is changed: no weight, no gradient that is kept, no random state.
    """
    ids = (torch.arange(_TRAINED_ROWS * _READ) % 97 + 3).reshape(_TRAINED_ROWS, _READ).to(model.device)
    weights = [weight for weight in model.parameters() if weight.requires_grad] if isinstance(model, PeftModel) else []

    def train() -> int:
        inputs = model.get_input_embeddings()(ids).detach().requires_grad_()  # pyright: ignore
        given = {"input_ids": ids} if weights else {"inputs_embeds": inputs}
        with torch.enable_grad(), torch.autocast(model.device.type, torch.bfloat16, enabled=inputs.dtype != _FULL):
            made = model(**given, labels=ids, use_cache=False)
        torch.autograd.grad(made.loss, weights or [inputs], allow_unused=True)
        return ids.numel()

    with torch.random.fork_rng():
        train()
        return Speed(0.0, 0.0, _rate(train, seconds))


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
