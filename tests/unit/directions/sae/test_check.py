"""A dictionary of another place, basis or model is found by reconstruction; its name of a hook is not believed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from persona_interp.directions.sae.check import check_dictionary
from persona_interp.directions.sae.dictionary import Dictionary
from persona_interp.directions.sae.load import load_sae
from persona_interp.directions.sae.settings import SAETraining
from persona_interp.directions.sae.train import train_sae
from persona_interp.errors import HookpointError, IncompatibleDirectionError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import Hookpoint
from tests.small import StubModel
from tests.unit.directions.sae.dictionaries import dictionary, make_sae
from tests.unit.directions.sae.test_train import SMALL, TEXTS


@pytest.fixture(scope="module")
def trained(model: HookedModelBase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dictionary, Path]]:
    folder = tmp_path_factory.mktemp("trained")
    yield train_sae(model, TEXTS, SAETraining(Hookpoint(1), **SMALL), folder=folder, progress=False), folder


def test_the_right_place_leaves_least(trained: tuple[Dictionary, Path], model: HookedModelBase) -> None:
    found = check_dictionary(trained[0], model, TEXTS)
    assert found.of("own") < 0.5 < found.of("coordinates shuffled")
    assert found.of("own") < found.of("elsewhere") and found.of("own") < found.of("other basis")
    assert set(found.fvu["stream"]) >= {"resid_post", "attn_out", "mlp_out"}


def test_another_place_is_named(trained: tuple[Dictionary, Path], model: HookedModelBase) -> None:
    for wrong in (Hookpoint(0), Hookpoint(2)):
        with pytest.raises(IncompatibleDirectionError, match=r'trained there: .*Hookpoint\(1, "resid_post"\)'):
            load_sae(trained[1], model=model, texts=TEXTS, hookpoint=wrong)
    with pytest.raises(HookpointError, match="Layers run 0..2"):
        load_sae(trained[1], model=model, texts=TEXTS, hookpoint=Hookpoint(7))


def test_another_basis_is_named(model: HookedModelBase) -> None:
    """A dictionary that gives back all but the mean over coordinates, as one of a model with centred weights does."""
    centre = torch.eye(model.d_model) - 1 / model.d_model
    made = dictionary(torch.cat([centre, -centre]))
    with pytest.raises(IncompatibleDirectionError, match=r'in the centred basis.\n .*load_sae\(.*, basis="centred"'):
        check_dictionary(made, model, TEXTS)


def test_a_dictionary_of_nothing_here_is_refused(model: HookedModelBase) -> None:
    sae = make_sae("standard", d_in=model.d_model)
    wrong = replace(dictionary(sae.W_dec), sae=sae)
    with pytest.raises(IncompatibleDirectionError, match="with coordinates shuffled"):
        check_dictionary(wrong, model, TEXTS)
    with pytest.raises(IncompatibleDirectionError, match="writes vectors of width 16; .* has d_model 32"):
        check_dictionary(dictionary(torch.randn(4, 16)), model, TEXTS)


def test_a_copy_of_the_model_with_other_weights_is_refused(trained: tuple[Dictionary, Path]) -> None:
    with pytest.raises(IncompatibleDirectionError, match="To use it on purpose on a finetuned copy"):
        check_dictionary(trained[0], StubModel(d_model=32), TEXTS)


def test_massive_positions_do_not_decide(trained: tuple[Dictionary, Path], model: HookedModelBase) -> None:
    limit = trained[0].norm_limit
    assert limit is not None and np.isfinite(limit)
    found = check_dictionary(replace(trained[0], norm_limit=limit / 10), model, TEXTS)
    assert int(found.fvu["n_tokens"].iloc[0]) < int(check_dictionary(trained[0], model, TEXTS).fvu["n_tokens"].iloc[0])
