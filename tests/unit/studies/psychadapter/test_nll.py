"""Held-out loss at right and wrong trait vectors, and what an adapter costs."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from persona_interp.data.trait_texts import Standard, TraitTexts
from persona_interp.directions.psychadapter import KVShape, PsychAdapter
from persona_interp.errors import ConfigError, DataError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import text_batch
from persona_interp.studies.psychadapter.cost import adapter_cost, base_parameters
from persona_interp.studies.psychadapter.nll import adapter_nll, exchange_p_value, text_losses
from tests.contract.tiny import Tiny
from tests.unit.studies.psychadapter.planted_adapter import PlantedModel, planted_adapter

N = 40


def data(n: int = N, *, seed: int = 0, **changes: Any) -> TraitTexts:
    scores = np.random.default_rng(seed).normal(5, 3, (n, 2))
    plain = {"texts": tuple(f"note {i:03d}" for i in range(n)), "scores": scores, "traits": ("loud", "slow")}
    return TraitTexts(**{**plain, "source": "made up", "estimated": False, **changes})


def hears(given: TraitTexts, weights: tuple[float, float], noise: float = 0.0) -> PlantedModel:
    """A model that expects each text the more, the nearer the trait vector is to the text's own, trait by trait."""
    own = dict(zip(given.texts, given.standardised().scores, strict=True))
    rng = np.random.default_rng(1)

    def logprob(texts: list[str], z: Tensor, adapted: bool) -> Tensor:
        gaps = np.abs(np.stack([own[text] for text in texts]) - z.numpy())
        values = -2.0 - (gaps @ np.array(weights) if adapted else 1.0) + noise * rng.standard_normal(len(texts))
        return torch.from_numpy(values).float()

    return PlantedModel(logprob=logprob)


def measured(model: Any, given: TraitTexts, **options: Any) -> pd.DataFrame:
    adapter = planted_adapter(standard=Standard.of(given))
    table = adapter_nll(model, adapter, given, n_permutations=499, n_resamples=200, progress=False, **options)
    return table.set_index(["metric", "condition", "trait"])


def test_the_gain_of_a_known_trait_vector_is_measured():
    given = data()
    z = given.standardised().scores
    table = measured(hears(given, (0.5, 0.0)), given)
    assert table.loc[("nll", "right", "all"), "estimate"] == pytest.approx(2.0)
    assert table.loc[("nll", "no adapter", "all"), "estimate"] == pytest.approx(3.0)
    assert table.loc[("nll", "mean author", "all"), "estimate"] == pytest.approx(2 + 0.5 * np.abs(z[:, 0]).mean())
    gain = table.loc[("nll difference", "shuffled", "all")]
    assert 0.2 < gain["low"] < gain["estimate"] < gain["high"] < 1
    assert gain["p"] == pytest.approx(1 / 500)
    assert gain["n"] == N
    assert set(table["data"]) == {"made up"}


def test_shuffling_one_trait_alone_shows_which_one_is_used():
    given = data()
    table = measured(hears(given, (0.5, 0.0)), given, by_trait=True)
    used, unused = (table.loc[("nll difference", "shuffled", trait)] for trait in ("loud", "slow"))
    assert used["low"] > 0.2
    assert unused["estimate"] == pytest.approx(0, abs=1e-6)
    assert unused["p"] > 0.5


def test_an_adapter_that_ignores_the_traits_gains_nothing():
    given = data()
    found = [measured(hears(given, (0, 0), noise=0.3), data(seed=seed), seed=seed) for seed in range(3)]
    gains = [table.loc[("nll difference", "shuffled", "all")] for table in found]
    assert all(gain["low"] < 0 < gain["high"] for gain in gains)


def test_without_an_effect_one_test_in_twenty_finds_one():
    p_values = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        losses = rng.exponential(size=(40, 1)) + rng.exponential(size=(40, 5))
        p_values.append(exchange_p_value(losses[:, 0], losses[:, 1:], n_permutations=199, seed=seed))
    assert 0.025 < np.mean(np.array(p_values) <= 0.05) < 0.075


def test_losses_are_those_of_the_model_for_each_row_alone(model: HookedModelBase):
    torch.manual_seed(0)
    start = model.provenance.derive("psychadapter", 1, pooling=None, start="<eos>")
    texts = ["one fine day", "no", "and then it was over, as it had to be"]
    z = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.0]])
    for provenance in (start, model.provenance):
        adapter = PsychAdapter(KVShape.of(model.config), ("loud", "slow"), provenance).requires_grad_(False)  # pyright: ignore
        losses = text_losses(model, adapter, texts, z)
        for i, text in enumerate(texts):
            whole = f"{adapter.start or ''}{text}<eos>"
            batch = text_batch(model.tokenizer, [whole])
            logits = model.run(batch, prefix=adapter.prefix(torch.from_numpy(z[i : i + 1]).float())).logits
            assert logits is not None
            expected = torch.nn.functional.cross_entropy(logits[0, :-1], batch.ids[0, 1:])
            assert losses[i] == pytest.approx(float(expected), rel=1e-4)


def test_texts_are_cut_as_in_training(model: HookedModelBase):
    adapter = PsychAdapter(KVShape.of(model.config), ("loud",), model.provenance).requires_grad_(False)  # pyright: ignore
    whole, cut = (
        text_losses(model, adapter, [text], np.array([[1.0]]), max_tokens=4) for text in ("qxzv kj wq", "qxzv kj")
    )
    assert whole == pytest.approx(cut)


def test_data_that_do_not_fit_the_adapter_are_refused():
    given, model = data(), hears(data(), (1, 1))
    with pytest.raises(DataError, match="made up has scores for loud, calm"):
        adapter_nll(model, planted_adapter(standard=Standard.of(given)), data(traits=("loud", "calm")))  # pyright: ignore
    with pytest.raises(ConfigError, match="n_shuffles must be 1 to 1000000, got 0"):
        measured(model, given, n_shuffles=0)
    with pytest.raises(DataError, match="made up holds one text"):
        adapter_nll(model, planted_adapter(standard=Standard.of(given)), given.take(1))  # pyright: ignore


def test_the_cost_counts_what_is_there(small: Tiny, model: HookedModelBase, tmp_path):
    adapter = PsychAdapter(KVShape.of(model.config), ("loud", "slow"), model.provenance).requires_grad_(False)  # pyright: ignore
    adapter.save(tmp_path / "adapter.safetensors")
    path = tmp_path / "adapter.safetensors"
    table = adapter_cost(model, adapter, path=path, n_lora_parameters=100, max_new_tokens=4, n_repeats=3)
    found = table.set_index("metric")["estimate"]
    base = sum(weight.numel() for weight in small.plain.parameters())
    assert base_parameters(model) == base
    assert found["parameters"] == 3 * 3 * 2 * 2 * 8
    assert found["share of the base, with LoRA"] == pytest.approx((found["parameters"] + 100) / base)
    assert found["bytes of the file"] == path.stat().st_size
    assert found["seconds a token, with adapter"] > 0
    assert table.set_index("metric").loc["slow-down", "n"] == 3
