"""The scores of a batch equal those of the measurements, row by row, and what cannot be scored says why."""

import numpy as np
import pyarrow as pa
import pytest

from persona_interp.data.conversations import Conversation, question_and_answer, stream_conversations
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, ContextLengthError
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.measurements.projection_difference import projection_difference
from persona_interp.measurements.sample_projections import project_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.screening.batch import Screener, batches
from persona_interp.studies.screening.config import ScreenConfig
from persona_interp.types import Turn
from tests.small import TRAIT, WordEncoder
from tests.unit.studies.screening.conftest import ROWS, Write

Directions = tuple[Direction, ...]


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def talks(source: str) -> list[tuple[int, Conversation]]:
    found = [(k, row) for k, row in stream_conversations(source) if isinstance(row, Conversation)]
    return [(k, row) for k, row in found if len(row.answer) < 500]


def test_batches_are_numbered_by_row_and_begin_anywhere(write: Write) -> None:
    source = write("data.jsonl", ROWS)
    whole = [(number, [row for row, _ in rows]) for number, rows in batches(source, 4)]
    assert whole == [(0, [0, 1, 2, 3]), (1, [4, 5, 6, 7]), (2, [9, 10, 11]), (3, [12])]
    assert [number for number, _ in batches(source, 4, start=1)] == [1, 2, 3]
    assert [number for number, _ in batches(source, 4, start=1, stop=3)] == [1, 2]


def test_scores_are_the_projections_of_the_samples(
    write: Write, model: HookedModelBase, directions: Directions
) -> None:
    source = write("data.jsonl", ROWS)
    rows = list(stream_conversations(source))
    table = Screener.make(model, directions, ScreenConfig((0, 2))).table(rows)
    good = talks(source)
    expected = project_samples(model, [talk for _, talk in good], directions, [0, 2], progress=False)
    at = [k for k, reason in enumerate(table["reason"].to_pylist()) if reason is None]
    assert [table["row"][k].as_py() for k in at] == [k for k, _ in good]
    for d, name in enumerate(("loud", "evil")):
        for i, layer in enumerate((0, 2)):
            response, last = expected.response[:, d, i], expected.prompt_last[:, d, i]
            place = f"{name}_layer{layer}"
            np.testing.assert_allclose(column(table, f"{place}_projection")[at], response, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(column(table, f"{place}_prompt_last")[at], last, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(column(table, f"{place}_difference")[at], response - last, rtol=1e-4, atol=1e-5)
    assert column(table, "n_answer_tokens")[at].tolist() == expected.n_answer_tokens.tolist()
    assert column(table, "n_prompt_tokens")[at].tolist() == expected.n_prompt_tokens.tolist()


def test_rows_without_scores_say_why(write: Write, model: HookedModelBase, directions: Directions) -> None:
    rows = list(stream_conversations(write("data.jsonl", ROWS)))
    blank = Conversation("blank", (Turn("user", "Why?"), Turn("assistant", "  ")))
    alone = Conversation("alone", (Turn("assistant", "Hello."),))
    table = Screener.make(model, directions, ScreenConfig((1,))).table([*rows, (98, blank), (99, alone)])
    refused = {row["row"]: row for row in table.to_pylist() if row["reason"] is not None}
    assert list(refused) == [6, 7, 98, 99]
    assert refused[6]["name"] == "data.jsonl, line 7"
    assert "JSON" in refused[6]["reason"]
    assert refused[7]["reason"].endswith("tokens; the model's context holds 512")
    assert refused[98]["reason"] == "its answer has no token"
    assert "not a prompt with an answer" in refused[99]["reason"]
    assert all(row["loud_layer1_projection"] is None and row["n_answer_tokens"] == 0 for row in refused.values())


def test_a_batch_of_unusable_rows_is_a_table_too(write: Write, model: HookedModelBase, directions: Directions) -> None:
    screener = Screener.make(model, directions, ScreenConfig((1,)))
    bad = screener.table(list(stream_conversations(write("bad.jsonl", ["{", "[]"]))))
    good = screener.table(list(stream_conversations(write("good.jsonl", ROWS[:2]))))
    assert bad.schema == good.schema
    assert bad["reason"].null_count == 0


def test_activations_that_overflow_are_not_scores(
    model: HookedModelBase, directions: Directions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(*arguments, **options):
        found = project_samples(*arguments, **options)
        found.response[1, 0] = np.inf
        return found

    monkeypatch.setattr("persona_interp.studies.screening.batch.project_samples", overflowing)
    rows = [(k, question_and_answer("Why?", f"So {k}.")) for k in range(3)]
    table = Screener.make(model, directions, ScreenConfig((1,))).table(rows)
    assert table["reason"].to_pylist() == [None, "its activations are not finite", None]
    assert table["evil_layer1_projection"].is_null().to_pylist() == [False, True, False]


@pytest.mark.parametrize("delta", ["none", "generate"])
def test_the_difference_is_what_was_asked_for(
    delta, write: Write, model: HookedModelBase, directions: Directions
) -> None:
    source = write("data.jsonl", ROWS[:4])
    config = ScreenConfig((1,), delta=delta, max_new_tokens=5)
    table = Screener.make(model, directions, config).table(list(stream_conversations(source)))
    if delta == "none":
        assert not [name for name in table.column_names if name.endswith("_difference")]
        return
    samples = [talk for _, talk in talks(source)]
    expected = projection_difference(model, directions, samples, layers=[1], max_new_tokens=5, progress=False)
    for d, name in enumerate(("loud", "evil")):
        found = column(table, f"{name}_layer1_difference")
        np.testing.assert_allclose(found, expected.difference[:, d, 0], rtol=1e-4, atol=1e-5)
        assert not np.allclose(found, expected.prompt_difference[:, d, 0], atol=1e-3)


def test_a_prompt_without_room_for_an_own_answer_is_unusable(model: HookedModelBase, directions: Directions) -> None:
    rows = [(0, question_and_answer("Why?", "So.", name="a")), (1, question_and_answer("z" * 400, "So.", name="b"))]
    table = Screener.make(model, directions, ScreenConfig((1,), "generate", max_new_tokens=120)).table(rows)
    reasons = table["reason"].to_pylist()
    assert reasons[0] is None
    assert "with an answer of the model's own; the model's context holds 512" in reasons[1]
    assert Screener.make(model, directions, ScreenConfig((1,))).table(rows)["reason"].null_count == 2


def test_an_own_answer_that_does_not_fit_after_all_costs_its_row_only(
    model: HookedModelBase, directions: Directions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(model, directions, rows, **options):
        if any(row.name == "b" for row in rows):
            raise ContextLengthError("b is 700 tokens long.", "Shorten it.")
        return projection_difference(model, directions, rows, **options)

    rows = [(k, question_and_answer("Why?", f"So {name}.", name=name)) for k, name in enumerate("abc")]
    screener = Screener.make(model, directions, ScreenConfig((1,), "generate", max_new_tokens=4))
    whole = screener.table(rows)
    monkeypatch.setattr("persona_interp.studies.screening.batch.projection_difference", refusing)
    table = screener.table(rows)
    assert table["reason"].to_pylist() == [None, "b is 700 tokens long.", None]
    for name in ("loud_layer1_projection", "evil_layer1_difference"):
        assert np.isnan(column(table, name)[1])
        np.testing.assert_allclose(column(table, name)[[0, 2]], column(whole, name)[[0, 2]], rtol=1e-4, atol=1e-5)


def test_a_text_judge_scores_beside_the_projections(
    model: HookedModelBase, directions: Directions, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = EmbeddingJudge(WordEncoder(["here", "yes", "it", "is", "blue", "red"]))
    screener = Screener(model, directions, ScreenConfig((0, 1), judge="embedding"), (None, TRAIT), judge)
    assert [name for name in screener.columns if "judge" in name] == ["evil_judge"]
    calls = []
    monkeypatch.setattr(judge, "rate", lambda *asked: calls.append(asked) or EmbeddingJudge.rate(judge, *asked))
    turns = Turn("user", "Hm?"), Turn("assistant", "No."), Turn("user", "Is it?"), Turn("assistant", "YES")
    talk = Conversation("talk", turns)
    table = screener.table([(0, talk)])
    monkeypatch.undo()
    assert calls == [(TRAIT, ["Is it?"], ["YES"])]
    assert table["evil_judge"].to_pylist() == pytest.approx([judge.rate(TRAIT, ["Is it?"], ["YES"])[0].value], rel=1e-6)


def test_a_judge_that_knows_no_trait_is_refused(model: HookedModelBase, directions: Directions) -> None:
    with pytest.raises(ConfigError, match="the embedding judge knows no trait of loud"):
        Screener.make(model, directions[:1], ScreenConfig((1,), judge="embedding"))
