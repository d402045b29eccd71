"""Planted truth for the panel of layers: a direction that is read and inert, and one that acts before it can be read.

Block 1 writes WRITTEN wherever a `Z` came before; the other blocks add nothing. The head either reads WRITTEN, so that
all of the prompt's effect goes through it, or something else.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from persona_interp.activations.extract import extract_activations
from persona_interp.directions.direction import Direction
from persona_interp.measurements.preference import AnswerPair, parts_of
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.tokens import encode
from persona_interp.studies.causal.found import Panel, decode, summarise
from persona_interp.studies.causal.panel import panel_of
from tests.contract.tiny import D_MODEL, N_LAYERS, make_tokenizer
from tests.planted_model import PLANTED_LAYER, RAISED_TOKEN, SEEN, WRITTEN, plant, unit
from tests.small import direction

LAYERS = tuple(range(N_LAYERS))
OTHER = unit(7) - (unit(7) @ WRITTEN) * WRITTEN - (unit(7) @ SEEN) * SEEN
OTHER /= OTHER.norm()
QUESTIONS = ("Why?", "Who?", "What now?", "How far?", "Is it so?", "Where?")


def planted(folder: Path, *, acts: bool) -> HookedModelBase:
    """The planted model without its other blocks; its head reads WRITTEN, or nothing of it."""
    plant(folder, raised=WRITTEN if acts else OTHER)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for layer, block in enumerate(model.model.layers):
            if layer != PLANTED_LAYER:
                block.self_attn.o_proj.weight.zero_()
                block.mlp.down_proj.weight.zero_()
        if not acts:
            head = model.lm_head.weight
            head.copy_(head - torch.outer(head @ WRITTEN, WRITTEN))
    model.save_pretrained(folder)
    return load_model(folder, "nnsight", device="cpu")


def pairs() -> list[AnswerPair]:
    tokenizer = make_tokenizer()
    made = []
    for i, question in enumerate(QUESTIONS):
        prompts = [f"{'Z' * (3 + i)} {question}", f"{'Q' * (3 + i)} {question}", question]
        positive, negative, none = map(tuple, encode(tokenizer, prompts))
        answers = [tuple(ids) for ids in encode(tokenizer, [RAISED_TOKEN * 3, "WWW"])]
        ours = {"positive": positive, "negative": negative, "none": none}
        made.append(AnswerPair(question, ours, (answers[0], answers[1])))  # pyright: ignore
    return made


def along(vector: torch.Tensor) -> Direction:
    return direction(vector.repeat(N_LAYERS, 1), norms=torch.ones(N_LAYERS))


def panel(model: HookedModelBase) -> Panel:
    asked = pairs()
    written, rng = along(WRITTEN), torch.Generator().manual_seed(0)
    random = {layer: [(along(torch.randn(D_MODEL, generator=rng)), 3.0) for _ in range(19)] for layer in LAYERS}
    coefficients = {(scope, layer): 3.0 for scope in ("layer", "cumulative") for layer in LAYERS}
    tables = [panel_of(model, part, written, LAYERS, coefficients, random, cumulative=True)
              for part in parts_of(model, asked, pairs_at_once=4)]  # fmt: skip
    prompts = [pair.prompts[arm] for arm in ("positive", "negative") for pair in asked]
    texts = [str(model.tokenizer.decode(list(ids))) for ids in prompts]
    answers = [pair.answers[1] for _ in range(2) for pair in asked]
    values = extract_activations(model, texts, answers, progress=False).values.numpy()
    positive = np.repeat([True, False], len(asked))
    names = np.array([*QUESTIONS, *QUESTIONS], dtype=str)
    decoded = decode(values, written.unit().vectors.numpy(), positive, names, LAYERS)
    return summarise(pd.concat(tables, ignore_index=True), decoded)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Panel]:
    made = {acts: panel(planted(tmp_path_factory.mktemp("planted"), acts=acts)) for acts in (True, False)}
    return made.__getitem__


def test_what_acts_mediates_all_of_the_prompts_effect_from_where_it_is_written(found: Callable[[bool], Panel]) -> None:
    panel = found(True)
    assert panel.total.low > 0.5
    for what in ("patched", "withheld", "patched whole"):
        shares = [panel.changed["layer", what, layer].share for layer in LAYERS]
        assert all(share is not None for share in shares)
        estimates = [share.estimate for share in shares if share is not None]
        assert estimates[0] == pytest.approx(0, abs=1e-3)
        assert estimates[1:] == pytest.approx([1, 1], abs=0.02), what
    for what in ("patched", "ablated"):
        ranks = [panel.changed["layer", what, layer].rank for layer in LAYERS]
        assert [rank is not None and rank.p <= 0.05 for rank in ranks] == [False, True, True], what


def test_it_steers_before_it_can_be_read(found: Callable[[bool], Panel]) -> None:
    panel = found(True)
    assert panel.decoded[0].auc.estimate == 0.5 and panel.decoded[0].distance != panel.decoded[0].distance
    assert [panel.decoded[layer].auc.estimate for layer in LAYERS[1:]] == [1.0, 1.0]
    for layer in LAYERS:
        steered = panel.changed["layer", "steered", layer]
        assert steered.change.low > 1 and steered.change.estimate > steered.random + 5


def test_what_is_read_and_inert_is_decodable_and_does_nothing(found: Callable[[bool], Panel]) -> None:
    panel = found(False)
    assert [panel.decoded[layer].auc.estimate for layer in LAYERS[1:]] == [1.0, 1.0]
    acting = found(True)
    for what in ("steered", "patched", "ablated"):
        inert, other = (abs(one.changed["layer", what, 2].change.estimate) for one in (panel, acting))
        assert inert < 0.15 * other, what


def test_all_layers_up_to_one_are_no_less_than_that_one(found: Callable[[bool], Panel]) -> None:
    panel = found(True)
    for layer in LAYERS:
        single, cumulative = (
            panel.changed[scope, "patched", layer].change.estimate for scope in ("layer", "cumulative")
        )
        assert cumulative == pytest.approx(single, abs=1e-3)
