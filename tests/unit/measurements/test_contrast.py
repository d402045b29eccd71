"""Contrastive rollouts become the rows that a held-out test takes."""

import numpy as np
import torch

from persona_interp.measurements.contrast import rollout_contrast
from tests.small import contrastive_frame, rollouts


def test_answers_without_a_mean_at_some_layer_are_left_out_and_positives_come_first() -> None:
    frame = contrastive_frame({"negative": [0.0, 0.0], "positive": [9.0, 9.0]}).iloc[::-1].reset_index(drop=True)
    values = torch.arange(4.0)[:, None, None].expand(4, 2, 3).clone()
    values[1, 1, 0] = torch.nan
    found = rollout_contrast(rollouts(frame, values))
    assert frame.loc[1, ["side", "question"]].tolist() == ["negative", "q0"]
    assert found.labels.tolist() == [True, True, False]
    np.testing.assert_array_equal(found.values[:, 0, 0], [2.0, 3.0, 0.0])
    assert found.questions.tolist() == ["q1", "q0", "q1"]
