"""Ablating, clamping and scaling neurons and heads: what they say is what the model then computes."""

import pytest
import torch

from persona_interp.errors import ConfigError, HookpointError
from persona_interp.interventions.protocol import Intervention
from persona_interp.interventions.record import intervention_record
from persona_interp.interventions.units import (
    AblateEach,
    AblateUnits,
    ClampUnits,
    ScaleUnits,
    UnitReference,
    Units,
    unit_reference,
    units_of,
)
from persona_interp.models.components import UNIT_KINDS, UNIT_STREAMS, UnitKind
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.types import Hookpoint
from tests.contract.tiny import D_HEAD, prompt_batch, uneven_batch

PLACES = [(0, 3), (2, 1)]


def read(model: HookedModelBase, kind: UnitKind, intervention: Intervention | None) -> dict[int, torch.Tensor]:
    """What the units of every layer give at the real positions, after the intervention."""
    batch, hookpoints = uneven_batch(), [Hookpoint(i, UNIT_STREAMS[kind]) for i in range(3)]
    edits = {} if intervention is None else intervention.edits
    found = model.run(batch, read=hookpoints, edits=edits).residuals
    return {h.layer: found[h][batch.mask] for h in hookpoints}


@pytest.mark.parametrize("kind", UNIT_KINDS)
def test_units_take_the_values_they_are_given(llama_model: HookedModelBase, kind: UnitKind) -> None:
    units = units_of(llama_model, kind, PLACES)
    width = D_HEAD if kind == "head" else 1
    assert units.width == width
    before = read(llama_model, kind, None)
    reference = unit_reference(llama_model, units.hookpoints, ["a b", "c"], ["d e f", "g"], progress=False)
    columns = slice(3 * width, 4 * width)
    bank = reference.values[units.hookpoints[0]][:, columns]
    expected = {
        "zero": (AblateUnits(units, "zero"), torch.zeros_like(bank[0])),
        "mean": (AblateUnits(units, "mean", reference), bank.mean(0)),
        "clamp": (ClampUnits(units, 2.5), torch.full_like(bank[0], 2.5)),
        "scale": (ScaleUnits(units, 3.0), 3 * before[0][:, columns]),
    }
    for intervention, value in expected.values():
        intervention.check(llama_model)
        after = read(llama_model, kind, intervention)
        torch.testing.assert_close(after[0][:, columns], value.expand_as(after[0][:, columns]))
        others = torch.ones(after[0].shape[1], dtype=torch.bool)
        others[columns] = False
        assert torch.equal(after[0][:, others], before[0][:, others])
        assert not torch.equal(after[2], before[2])


@pytest.mark.parametrize("kind", UNIT_KINDS)
def test_resampled_rows_take_a_sample_each(llama_model: HookedModelBase, kind: UnitKind) -> None:
    units = units_of(llama_model, kind, [(1, 0)])
    reference = unit_reference(llama_model, units.hookpoints, ["a b", "c"], ["d e f", "g"], progress=False)
    batch, hookpoint = uneven_batch(), units.hookpoints[0]
    edits = AblateUnits(units, "resample", reference, seed=1).edits
    found = llama_model.run(batch, read=[hookpoint], edits=edits).residuals[hookpoint]
    for row in range(3):
        drawn = reference.values[hookpoint][(row + 1) % 2, : units.width]
        torch.testing.assert_close(found[row, -1, : units.width], drawn)


@pytest.mark.parametrize("kind", UNIT_KINDS)
def test_each_row_has_its_own_units(llama_model: HookedModelBase, kind: UnitKind) -> None:
    one, other = (units_of(llama_model, kind, [place]) for place in PLACES)
    sampling = Sampling(max_new_tokens=6, temperature=0.0)

    def answers(intervention: Intervention | None) -> list[list[int]]:
        edits = {} if intervention is None else intervention.edits
        return llama_model.generate(prompt_batch(), sampling=sampling, edits=edits).ids

    each = answers(AblateEach([one, None, other]))
    alone = [answers(AblateUnits(one, "zero"))[0], answers(None)[1], answers(AblateUnits(other, "zero"))[2]]
    assert each == alone
    logits = [
        llama_model.run(uneven_batch(), edits=edits).logits
        for edits in (AblateEach([one, None, other]).edits, AblateUnits(one, "zero").edits, {})
    ]
    masks = uneven_batch().mask
    assert logits[0] is not None and logits[1] is not None and logits[2] is not None
    torch.testing.assert_close(logits[0][0, masks[0]], logits[1][0, masks[0]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits[0][1, masks[1]], logits[2][1, masks[1]], rtol=1e-4, atol=1e-5)
    assert (logits[1][0, masks[0]] - logits[2][0, masks[0]]).abs().max() > 1e-4


def test_a_factor_of_one_changes_nothing(llama_model: HookedModelBase) -> None:
    edits = ScaleUnits(units_of(llama_model, "neuron", PLACES), 1.0).edits
    plain, scaled = llama_model.run(uneven_batch()).logits, llama_model.run(uneven_batch(), edits=edits).logits
    assert plain is not None and scaled is not None and torch.equal(plain, scaled)


def test_records_tell_interventions_apart(llama_model: HookedModelBase) -> None:
    units = units_of(llama_model, "neuron", PLACES)
    reference = UnitReference({h: torch.rand(2, 48) for h in units.hookpoints})
    made = [
        AblateUnits(units, "zero"),
        AblateUnits(units, "mean", reference),
        AblateUnits(units, "mean", UnitReference({h: torch.rand(2, 48) for h in units.hookpoints})),
        AblateUnits(units_of(llama_model, "neuron", PLACES[:1]), "zero"),
        ClampUnits(units, 1.0),
        ScaleUnits(units, 1.0),
    ]
    records = [str(intervention_record(one)) for one in made]
    assert len(set(records)) == len(records)


def test_bad_units_are_refused(llama_model: HookedModelBase) -> None:
    with pytest.raises(ConfigError, match="neuron 48 does not exist: layer 0 of .* has neurons 0 to 47"):
        units_of(llama_model, "neuron", [(0, 48)])
    with pytest.raises(HookpointError, match=r"Layers run 0..2"):
        units_of(llama_model, "head", [(7, 0)])
    with pytest.raises(ConfigError, match="head 3 of layer 1 is given twice"):
        Units("head", ((1, 3), (1, 3)), 8)
    units = units_of(llama_model, "neuron", PLACES)
    with pytest.raises(ConfigError, match="ablation to the mean needs reference activations of mlp_act at layer 0"):
        AblateUnits(units, "mean")
    narrow, nan = torch.zeros(2, 5), torch.full((2, 48), float("nan"))
    for values in (narrow, nan, torch.zeros(0, 48)):
        last, reference = units_of(llama_model, "neuron", [(0, 40)]), UnitReference({Hookpoint(0, "mlp_act"): values})
        with pytest.raises(ConfigError, match="reference activations of mlp_act at layer 0 must be finite"):
            AblateUnits(last, "mean", reference)
        with pytest.raises(ConfigError, match="reference activations of mlp_act at layer 0 must be finite"):
            AblateEach([last], reference)
    for made in (AblateUnits(Units("head", ((1, 3),)), "zero"), AblateEach([Units("head", ((1, 3),))])):
        with pytest.raises(ConfigError, match="a head of layer 1 of .* gives 8 numbers; these units have width 1"):
            made.check(llama_model)
    with pytest.raises(ConfigError, match="must be all neurons or all heads"):
        AblateEach([units, units_of(llama_model, "head", PLACES)])
    with pytest.raises(ConfigError, match="neuron 90 does not exist"):
        AblateUnits(Units("neuron", ((0, 90),)), "zero").check(llama_model)
