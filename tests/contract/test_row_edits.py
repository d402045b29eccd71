"""A direction of its own in every row does to that row what it does to it alone, behind every backend."""

import pytest
import torch

from persona_interp.errors import AlignmentError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.protocol import Sampling
from persona_interp.models.row_edits import row_addition
from persona_interp.models.tokens import token_batch
from persona_interp.types import Edit, Edits, Hookpoint, Span
from tests.contract.tiny import D_MODEL, TOLERANCE, uneven_batch

PROMPTS = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [5, 6, 7, 8, 9, 10, 11, 12, 13, 15], [3, 4]]


def pushes(n: int) -> torch.Tensor:
    return 8 * torch.randn(n, D_MODEL, generator=torch.Generator().manual_seed(1))


def by_row(vectors: torch.Tensor, span: Span = "response") -> Edits:
    return {Hookpoint(1): (Edit(row_addition(vectors), span, by_row=True),)}


@pytest.mark.parametrize("span", ["response", "all", "last"])
def test_each_row_of_a_pass_is_edited_by_its_own_vector(model: HookedModelBase, span: Span) -> None:
    batch = uneven_batch()
    vectors = pushes(len(batch))
    together = model.run(batch, read=[Hookpoint(1)], edits=by_row(vectors, span)).residuals[Hookpoint(1)]
    for row, vector in enumerate(vectors):
        everywhere = by_row(vector.expand(len(batch), -1), span)
        alone = model.run(batch, read=[Hookpoint(1)], edits=everywhere).residuals[Hookpoint(1)]
        torch.testing.assert_close(together[row], alone[row], **TOLERANCE)


@pytest.mark.parametrize("span", ["response", "all"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_each_row_is_answered_as_it_is_alone(model: HookedModelBase, span: Span, n_samples: int) -> None:
    """Equal prompts with different vectors, some of which end early: rows are shared, copied and dropped on the way."""
    rows = [PROMPTS[k % 3] for k in range(9)]
    vectors = pushes(9)
    sampling = Sampling(12, temperature=0.0, n_samples=n_samples)
    batch = token_batch(rows, pad_id=0)
    together = model.generate(batch, sampling=sampling, edits=by_row(vectors, span))
    unedited = model.generate(batch, sampling=sampling)
    assert len({tuple(ids) for ids in together.ids}) > 3
    assert together.ids != unedited.ids
    for k, (prompt, vector) in enumerate(zip(rows, vectors, strict=True)):
        alone = model.generate(token_batch([prompt], pad_id=0), sampling=sampling, edits=by_row(vector[None], span))
        assert together.ids[k * n_samples : (k + 1) * n_samples] == alone.ids


def test_a_batch_of_more_rows_than_vectors_is_refused(model: HookedModelBase) -> None:
    with pytest.raises(AlignmentError, match="2 rows have a direction; the batch has 3"):
        model.generate(token_batch(PROMPTS, pad_id=0), sampling=Sampling(2), edits=by_row(pushes(2), "all"))
