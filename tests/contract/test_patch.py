"""Patched residuals are those of the other run, along a direction or whole, behind every backend."""

import pytest
import torch

from persona_interp.errors import AlignmentError, ConfigError, HookpointError
from persona_interp.interventions.patch import Patch, response_residuals
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.kept_prompts import KeptPrompts
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import token_batch
from persona_interp.types import Hookpoint, TokenBatch
from tests.contract.tiny import D_MODEL, N_LAYERS, TOLERANCE
from tests.small import direction

HERE = Hookpoint(1)
RESPONSES = [[20, 21, 22], [23, 24], [25, 26, 27, 28]]


def batch_of(word: int) -> TokenBatch:
    """Prompts of uneven lengths that hold a word and end alike, before the same responses."""
    return token_batch([[word, 6, 7], [word, word, 8, 9, 7], [7, word, 7]], RESPONSES)


def one() -> object:
    vector = torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(2))
    return direction(vector)


def test_the_whole_residual_of_the_last_block_gives_the_other_runs_predictions(model: HookedModelBase) -> None:
    ours, theirs, last = batch_of(5), batch_of(11), Hookpoint(N_LAYERS - 1)
    other = model.run(theirs, outputs="token_logprobs").token_logprobs
    patch = Patch(response_residuals(model, theirs, [last]))
    patched = model.run(ours, outputs="token_logprobs", edits=patch.edits).token_logprobs
    assert other is not None and patched is not None
    torch.testing.assert_close(patched, other, **TOLERANCE)


def test_its_own_residual_changes_nothing_and_shared_prompts_make_no_difference(model: HookedModelBase) -> None:
    batch, kept = batch_of(5), KeptPrompts()
    plain = model.run(batch, outputs="token_logprobs").token_logprobs
    patch = Patch(response_residuals(model, batch, [HERE]))
    other = Patch(response_residuals(model, batch_of(11), [HERE]))
    assert plain is not None
    for edits, same in ((patch.edits, True), (other.edits, False)):
        whole = model.run(batch, outputs="token_logprobs", edits=edits).token_logprobs
        shared = [model.run(batch, outputs="token_logprobs", edits=edits, kept=kept).token_logprobs for _ in (0, 1)]
        assert whole is not None
        for found in shared:
            assert found is not None
            torch.testing.assert_close(found, whole, **TOLERANCE)
        assert torch.allclose(whole, plain, **TOLERANCE) == same


def test_along_a_direction_the_component_is_the_other_runs_and_the_rest_is_kept(model: HookedModelBase) -> None:
    ours, theirs, along = batch_of(5), batch_of(11), one()
    source = response_residuals(model, theirs, [HERE])
    before = response_residuals(model, ours, [HERE])[HERE]
    patch = Patch(source, along)  # pyright: ignore
    edited = model.run(ours, read=[HERE], outputs="none", edits=patch.edits).residuals[HERE]
    unit = along.at(HERE) / along.at(HERE).norm()  # pyright: ignore
    span = ours.span("response", last_prompt_token=True)
    for row in range(len(ours)):
        found, wanted, was = edited[row][span[row]], source[HERE][row], before[row]
        torch.testing.assert_close(found @ unit, wanted @ unit, rtol=1e-4, atol=1e-4)
        rest = (found - was) - ((found - was) @ unit)[:, None] * unit
        assert float(rest.abs().max()) < 1e-4
        assert len(found) == len(RESPONSES[row]) + 1


def test_what_does_not_fit_is_refused(llama_model: HookedModelBase) -> None:
    source = response_residuals(llama_model, batch_of(5), [HERE])
    with pytest.raises(AlignmentError, match="a patch of row 0 needs the residuals of 5 positions, row 0 has 4"):
        llama_model.run(token_batch([[5, 7]], [[20, 21, 22, 23]]), edits=Patch(source).edits)
    with pytest.raises(AlignmentError, match="a patch is not for generation"):
        llama_model.generate(token_batch([[5, 7]]), sampling=Sampling(2), edits=Patch(source).edits)
    with pytest.raises(AlignmentError, match="needs the residuals of 4 positions, there are 3 rows"):
        four = token_batch([[5, 7]] * 4, [*RESPONSES, RESPONSES[0]])
        llama_model.run(four, edits=Patch(source).edits)
    with pytest.raises(ConfigError, match="a Patch needs values at one hookpoint at least"):
        Patch({})
    with pytest.raises(HookpointError, match="has no vector for"):
        Patch({Hookpoint(7): source[HERE]}, one())  # pyright: ignore
    with pytest.raises(AlignmentError, match=f"must have d_model {D_MODEL} of"):
        Patch({HERE: [row[:, :3] for row in source[HERE]]}).check(llama_model)
