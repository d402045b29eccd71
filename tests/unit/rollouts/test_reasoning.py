"""Answers of a model that reasons first, in memory and in a folder."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp.errors import ConfigError
from persona_interp.models import decoding
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import encode
from persona_interp.rollouts.generate import Rollouts, answer, plain_requests

SAID = ("<think>a so</think> yes", "plain it is", "<think>a so on and on", "<think></think>so")


def make(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch, folder: Path | None = None, **options) -> Rollouts:
    """Four answers in batches of two."""
    ids = encode(model.tokenizer, SAID)
    width = max(map(len, ids))
    script = torch.tensor([[*row, *encode(model.tokenizer, ["z" * (width - len(row))])[0]] for row in ids])
    steps = iter([*script[:2].T, *script[2:].T])
    monkeypatch.setattr(decoding, "sample_tokens", lambda *_: next(steps))
    return answer(
        model,
        plain_requests(["a", "b", "c", "d"]),
        sampling=Sampling(width),
        pool=("response_mean",),
        batch_size=2,
        folder=folder,
        progress=False,
        **options,
    )


def test_an_answer_and_its_reasoning_are_two_columns(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch):
    made = make(model, monkeypatch)
    assert [text.rstrip("z") for text in made.frame["answer"]] == ["yes", "plain it is", "", "so"]
    assert list(made.frame["reasoning"]) == [
        "<think>a so</think>", "", made.frame["reasoning"][2], "<think></think>",
    ]  # fmt: skip
    assert torch.isfinite(made.activations().values).flatten(1).all(1).tolist() == [True, True, False, True]


def test_kept_in_a_folder_and_read_again(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = make(model, monkeypatch, tmp_path)
    again = make(model, monkeypatch, tmp_path)
    pd.testing.assert_frame_equal(made.frame, again.frame)
    with pytest.raises(ConfigError, match="reasoning: there None, now 'include'"):
        make(model, monkeypatch, tmp_path, reasoning="include")


def test_with_the_block(model: HookedModelBase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = make(model, monkeypatch, tmp_path, reasoning="include")
    assert made.provenance.details["reasoning"] == "include"
    assert torch.isfinite(made.activations().values).all()
    with pytest.raises(ConfigError, match="reasoning: there 'include', now None"):
        make(model, monkeypatch, tmp_path)
