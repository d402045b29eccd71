"""Answers under a model's generation_config are those of transformers' own `generate`, token by token."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from persona_interp.errors import ConfigError, ModelError
from persona_interp.models.generation_settings import GenerationSettings
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import key_of
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.rollouts.generate import answer
from tests.contract.tiny import BACKENDS, D_VOCAB, PAD, Tiny, words
from tests.parity import alone, settings, under, with_settings

PROMPTS = [words(9, 1), words(4, 2), words(6, 3), words(4, 9), words(1, 12)]
GREEDY = Sampling(16, 0.0)
EVEN = list(range(4, D_VOCAB, 2))
ENTRIES: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.3},
    "repetition_penalty below 1": {"repetition_penalty": 0.7},
    "no_repeat_ngram_size 1": {"no_repeat_ngram_size": 1},
    "no_repeat_ngram_size 2": {"no_repeat_ngram_size": 2},
    "suppress_tokens": {"suppress_tokens": EVEN},
    "begin_suppress_tokens": {"begin_suppress_tokens": EVEN},
    "bad_words_ids": {"bad_words_ids": [[i] for i in EVEN] + [[5, 7], [9, 9]]},
    "min_new_tokens": {"min_new_tokens": 9},
    "min_length": {"min_length": 12},
    "both minima": {"min_new_tokens": 5, "min_length": 3},
    "forced_bos_token_id": {"forced_bos_token_id": 9},
    "forced_eos_token_id": {"forced_eos_token_id": 1},
    "a decay of length": {"exponential_decay_length_penalty": (2, 1.6)},
    "sequence_bias": {"sequence_bias": [[[44], 5.0], [[44, 45], 9.0]]},
    "several ends": {"eos_token_id": [1, 3, *EVEN[:40]]},
    "all together": {
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 2,
        "min_new_tokens": 4,
        "suppress_tokens": EVEN[::2],
        "begin_suppress_tokens": EVEN,
        "bad_words_ids": [[5, 7], [9]],
        "sequence_bias": [[[44], 2.0]],
    },
}


@pytest.mark.parametrize("entries", ENTRIES.values(), ids=list(ENTRIES))
def test_greedy_answers_are_those_of_transformers(
    llama: Tiny, llama_model: HookedModelBase, entries: dict[str, Any]
) -> None:
    with under(llama, llama_model, entries):
        expected = alone(llama.plain, PROMPTS, 16)
        together = llama_model.generate(token_batch(PROMPTS, pad_id=PAD), sampling=GREEDY).ids
        singles = [llama_model.generate(token_batch([p], pad_id=PAD), sampling=GREEDY).ids[0] for p in PROMPTS]
    assert together == expected
    assert singles == expected


@pytest.mark.parametrize("entries", ENTRIES.values(), ids=list(ENTRIES))
def test_each_entry_matters(llama: Tiny, entries: dict[str, Any]) -> None:
    model, batch = llama.hooked("nnsight"), token_batch(PROMPTS, pad_id=PAD)
    plain = model.generate(batch, sampling=GREEDY).ids
    with under(llama, model, entries):
        assert model.generate(batch, sampling=GREEDY).ids != plain
        unfollowed = model.generate(batch, sampling=Sampling(16, 0.0, generation_config=False)).ids
    assert unfollowed == plain or "eos_token_id" in entries


def test_samples_keep_their_settings_when_others_have_ended(tiny: Tiny) -> None:
    """Rows that share a prompt, rows that leave the batch, rows of other lengths: each is as it is alone."""
    entries = {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "min_length": 8}
    sampling = Sampling(20, 0.9, n_samples=4, seed=2)
    for backend in BACKENDS:
        model = tiny.hooked(backend)
        with under(tiny, model, entries):
            together = model.generate(token_batch(PROMPTS, pad_id=PAD), sampling=sampling)
            singles = [model.generate(token_batch([p], pad_id=PAD), sampling=sampling).ids for p in PROMPTS]
        assert together.ids == [ids for several in singles for ids in several]
        assert any(together.finished) and not all(together.finished)
        for prompt, several in zip(PROMPTS, singles, strict=True):
            for ids in several:
                pairs = list(zip([*prompt, *ids], [*prompt, *ids][1:], strict=False))[len(prompt) - 1 :]
                assert len(set(pairs)) == len(pairs), "a pair came twice"


def test_sampled_tokens_follow_the_shaped_probabilities(llama: Tiny) -> None:
    model, prompt = llama.hooked("nnsight"), words(6, 3)
    with under(llama, model, {"repetition_penalty": 1.8, "suppress_tokens": EVEN}):
        first = model.generate(token_batch([prompt]), sampling=Sampling(1, n_samples=4000, seed=5)).ids
    logits = llama.plain(torch.tensor([prompt])).logits[0, -1]
    seen = torch.tensor(sorted(set(prompt)))
    logits[seen] = torch.where(logits[seen] < 0, logits[seen] * 1.8, logits[seen] / 1.8)
    logits[EVEN] = -torch.inf
    found = torch.bincount(torch.tensor([ids[0] for ids in first if ids]), minlength=D_VOCAB) / 4000
    expected = logits.softmax(-1)
    likely = (expected > 0.01) & (torch.arange(D_VOCAB) > 3)
    assert found[EVEN].sum() == 0
    torch.testing.assert_close(found[likely], expected[likely], atol=0.03, rtol=0)


def test_what_is_not_followed_is_named(llama: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = {"num_beams": 4, "stop_strings": ["x"], "temperature": 0.6, "do_sample": True, "top_k": 20}
    folder = with_settings(llama.folder, tmp_path / "m", {**entries, "repetition_penalty": 1.1})
    with caplog.at_level(logging.INFO, logger="persona_interp.models.hooked"):
        model = load_model(folder, "nnsight", device="cpu")
    (record,) = [r for r in caplog.records if r.name == "persona_interp.models.hooked"]
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"of the generation_config of {folder}, generation follows repetition_penalty=1.1;"
        " ignores num_beams=4, stop_strings=['x'];"
        " leaves to Sampling do_sample=True, temperature=0.6, top_k=20."
    )
    details = model.provenance.details
    assert details["generation_config"] == {"repetition_penalty": 1.1}
    assert details["generation_config_ignored"] == {"num_beams": 4, "stop_strings": ["x"]}


def test_a_plain_model_says_nothing(llama: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="persona_interp.models.hooked"):
        model = load_model(llama.folder, "nnsight", device="cpu")
    assert not [record for record in caplog.records if record.name == "persona_interp.models.hooked"]
    assert dict(model.provenance.details) == {} and "generation_config" not in key_of(model.provenance)


NEUTRAL = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "num_beams": 1, "guidance_scale": 1, "min_length": 0}


def test_neutral_values_are_nothing() -> None:
    assert GenerationSettings.of(settings({**NEUTRAL, "suppress_tokens": [], "max_length": 7})) == GenerationSettings()
    assert GenerationSettings.of(None) == GenerationSettings()


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"repetition_penalty": -1.0}, r"says repetition_penalty=-1\.0, which transformers refuses\.\n"),
        ({"no_repeat_ngram_size": 2.5}, r"says no_repeat_ngram_size=2\.5, which transformers refuses"),
        ({"bad_words_ids": [5]}, r"says bad_words_ids=\[5\], which transformers refuses"),
        ({"sequence_bias": [[[D_VOCAB + 7], 1.0]]}, r"says sequence_bias=.*, which transformers refuses"),
        ({"suppress_tokens": list(range(D_VOCAB))}, r"leaves no token to go on with\.\n  It says suppress_tokens=\[0"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(
    llama: Tiny, llama_model: HookedModelBase, entries: dict[str, Any], says: str
) -> None:
    with under(llama, llama_model, entries), pytest.raises(ModelError, match=says):
        llama_model.generate(token_batch(PROMPTS, pad_id=PAD), sampling=GREEDY)


def asked() -> pd.DataFrame:
    return pd.DataFrame({"side": "", "instruction": -1, "question": ["Why?", "Who?"], "system": None})


@pytest.fixture
def penalised(llama: Tiny, tmp_path: Path) -> Callable[[float], HookedModelBase]:
    """The same weights under other settings."""

    def load(penalty: float) -> HookedModelBase:
        folder = tmp_path / f"m{penalty}"
        if not folder.is_dir():
            with_settings(llama.folder, folder, {"repetition_penalty": penalty})
        model = load_model(folder, "nnsight", device="cpu")
        model.name = "m"
        return model

    return load


def test_kept_answers_belong_to_the_settings_that_were_followed(penalised, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    answer(penalised(1.3), asked(), sampling=GREEDY, folder=kept, progress=False)
    config = json.loads((kept / "config.json").read_text())
    assert config["generation_config"] == '{"repetition_penalty": 1.3}'
    answer(penalised(1.3), asked(), sampling=GREEDY, folder=kept, progress=False)  # goes on
    with pytest.raises(ConfigError, match="another configuration[^$]*generation_config: there"):
        answer(penalised(1.3), asked(), sampling=Sampling(16, 0.0, generation_config=False), folder=kept)


def test_answers_without_settings_are_kept_as_before(llama: Tiny, tmp_path: Path) -> None:
    """Folders of earlier versions, whose configuration knew no settings, go on."""
    kept, model = tmp_path / "kept", llama.hooked("nnsight")
    answer(model, asked(), sampling=GREEDY, folder=kept, progress=False)
    path = kept / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("generation_config") is None and "generation_config" not in config["sampling"]
    path.write_text(json.dumps(config))
    answer(model, asked(), sampling=GREEDY, folder=kept, progress=False)


def test_rollouts_say_what_was_followed(penalised) -> None:
    model = penalised(1.3)
    followed = answer(model, asked(), sampling=GREEDY, progress=False)
    unfollowed = answer(model, asked(), sampling=Sampling(16, 0.0, generation_config=False), progress=False)
    assert followed.provenance.details["generation_config"] == {"repetition_penalty": 1.3}
    assert "generation_config" not in unfollowed.provenance.details
    assert list(followed.frame["answer"]) != list(unfollowed.frame["answer"])
    plain = AutoModelForCausalLM.from_pretrained(model.config._name_or_path)
    prompts = [model.tokenizer(prompt)["input_ids"] for prompt in followed.frame["prompt"]]
    lines = {i for token, i in model.tokenizer.get_vocab().items() if "Ċ" in token}
    for row, ids in zip(followed.frame.itertuples(), alone(plain, prompts, 16), strict=True):
        before_line = ids[: next((k for k, token in enumerate(ids) if token in lines), len(ids))]
        assert list(row.response_ids) == before_line  # pyright: ignore
