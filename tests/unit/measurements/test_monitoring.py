"""Thresholds, smoothing, readings and alerts, contexts, transcripts and the tables: everything without a model."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from persona_interp.data.traits import list_traits, load_trait
from persona_interp.errors import (
    AlignmentError,
    ArtefactError,
    ConfigError,
    EmptySelectionError,
)
from persona_interp.measurements.monitor import Alert, Monitor
from persona_interp.measurements.smoothing import Smoother, Smoothing, smooth
from persona_interp.measurements.streaming import in_background, text_pieces
from persona_interp.measurements.thresholds import (
    Threshold,
    calibrate_threshold,
    exact_share,
    measure_false_alarms,
)
from persona_interp.measurements.transcript import read_transcript, turn_table
from persona_interp.models.recorder import Segment, Watch
from persona_interp.models.tokens import render_chat
from persona_interp.rollouts.contexts import condition_turns, graded_system_prompts, many_shot_contexts
from persona_interp.types import Hookpoint
from tests.contract.tiny import make_tokenizer
from tests.small import TRAIT, direction

# thresholds


def test_the_threshold_is_the_conformal_quantile_of_the_maxima() -> None:
    answers = [np.array([0.0, float(k), -1.0]) for k in range(1, 100)]
    found = calibrate_threshold(answers, false_alarm_rate=0.01)
    assert (found.value, found.n, found.per) == (99.0, 99, "answer")
    assert calibrate_threshold(answers, false_alarm_rate=0.1).value == 90.0
    scores = np.concatenate(answers)
    assert found.mean == pytest.approx(scores.mean()) and found.sd == pytest.approx(scores.std(ddof=1))


def test_per_token_every_answer_weighs_the_same() -> None:
    """One answer of a thousand high tokens is one answer of ten: it is within a rate of .1, not of .05."""
    answers = [np.zeros(2)] * 18 + [np.full(1000, 5.0)]
    assert calibrate_threshold(answers, false_alarm_rate=0.1, per="token").value == 0.0
    assert calibrate_threshold(answers, false_alarm_rate=0.05, per="token").value == 5.0


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.5, 1)])
def test_too_few_neutral_answers_are_refused(rate: float, needed: int) -> None:
    answers = [np.arange(3.0)] * needed
    assert calibrate_threshold(answers, false_alarm_rate=rate).n == needed
    if needed > 1:
        with pytest.raises(ConfigError) as caught:
            calibrate_threshold(answers[1:], false_alarm_rate=rate)
        assert str(caught.value).startswith(
            f"{needed - 1} neutral answers cannot set a threshold for a false-alarm rate of {rate}.\n"
            f"  Needed: at least {needed} (1 / rate - 1)."
        )


def test_bad_neutral_traffic_is_refused() -> None:
    with pytest.raises(EmptySelectionError, match="2 answers came, 1 of them without a token"):
        calibrate_threshold([np.ones(2), np.ones(0)])
    with pytest.raises(AlignmentError, match="1 scores of the neutral traffic are not finite"):
        measure_false_alarms(Threshold(0.0), [np.array([np.nan, 1.0])])
    with pytest.raises(ConfigError, match="a false-alarm rate of 1.0 came"):
        calibrate_threshold([np.ones(2)], false_alarm_rate=1.0)


def test_the_exact_interval_is_that_of_the_tables() -> None:
    """Textbook values: 0 of 20 gives .168 as the upper bound, 5 of 50 gives .033 to .218."""
    none, some = exact_share(0, 20), exact_share(5, 50)
    assert (none.low, none.high) == (0.0, pytest.approx(0.168, abs=5e-4))
    assert (some.low, some.high) == (pytest.approx(0.033, abs=5e-4), pytest.approx(0.218, abs=5e-4))
    assert exact_share(3, 3).high == 1.0
    with pytest.raises(AlignmentError, match="4 of 3 is no share"):
        exact_share(4, 3)


def test_false_alarms_are_counted_over_answers_or_tokens() -> None:
    answers = [np.array([0.0, 2.0]), np.array([0.0, 0.5]), np.array([3.0, 3.0, 0.0, 0.0])]
    assert measure_false_alarms(Threshold(1.0), answers).estimate == pytest.approx(2 / 3)
    by_token = measure_false_alarms(Threshold(1.0, per="token"), answers)
    assert (by_token.estimate, by_token.n, by_token.n_clusters) == (pytest.approx(3 / 8), 8, 3)
    assert measure_false_alarms(Threshold(3.0), answers).estimate == 0.0, "equal is not above"


# smoothing


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_window_is_the_mean_of_the_last_tokens(values: list[float], window: int) -> None:
    expected = [np.mean(values[max(0, k + 1 - window) : k + 1]) for k in range(len(values))]
    np.testing.assert_allclose(smooth(np.array(values), Smoothing(window)), expected, atol=1e-9)


def test_an_exponential_mean_starts_at_the_first_token() -> None:
    np.testing.assert_allclose(smooth(np.array([4.0, 0.0, 0.0]), Smoothing(decay=0.5)), [4.0, 2.0, 1.0])


@pytest.mark.parametrize("smoothing", [Smoothing(), Smoothing(3), Smoothing(decay=0.3)])
def test_rows_that_end_at_different_times_do_not_mix(smoothing: Smoothing) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, 2)) for n in (5, 2, 7)]
    smoother, found = Smoother(smoothing, 2), [[], [], []]
    for k in range(7):
        here = np.array([i for i, row in enumerate(rows) if k < len(row)])
        for i, scores in zip(here, smoother.update(here, np.stack([rows[i][k] for i in here])), strict=True):
            found[i].append(scores.copy())
    for row, scores in zip(rows, found, strict=True):
        for channel in range(2):
            np.testing.assert_allclose(np.array(scores)[:, channel], smooth(row[:, channel], smoothing))


def test_smoothing_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="a window of 0 tokens came"):
        Smoothing(0)
    with pytest.raises(ConfigError, match="a decay of 0.5 with a window of 2 came"):
        Smoothing(2, 0.5)


# the monitor, fed by hand


def monitor(**changes) -> Monitor:  # noqa: ANN003
    vectors = torch.tensor([[3.0, 0, 0, 0], [0, 2.0, 0, 0]])
    return Monitor([direction(vectors), direction(-vectors, trait="quiet")], [0, 1], **changes)


def feed(watch: Monitor, tokens: Tensor, *, prompt: bool = False, rows: Tensor | None = None) -> None:
    """One pass over one token a row, whose residual is (t, 10 t, ...) at both layers."""
    seen = torch.ones(len(tokens), 1, dtype=torch.bool)
    watch.readings.begin(Segment(tokens[:, None], seen, seen & (not prompt), seen & prompt), rows)
    for hookpoint in watch.readings.hookpoints:
        watch.readings.observe(hookpoint, tokens[:, None, None].float() * torch.tensor([1.0, 10, 100, 1000]))
    watch.readings.end()


def test_projections_are_a_dot_v_over_its_length() -> None:
    watch = monitor()
    assert isinstance(watch.readings, Watch)
    watch.readings.start()
    feed(watch, torch.tensor([7]), prompt=True)
    watch.readings.expand(torch.tensor([0, 0]))
    feed(watch, torch.tensor([1, 2]))
    feed(watch, torch.tensor([5]), rows=torch.tensor([1]))
    frame = watch.frame()
    assert len(frame) == 5 * 4
    loud = frame[(frame["trait"] == "loud") & (frame["layer"] == 1)]
    assert loud[["row", "token_index", "token_id", "projection"]].to_numpy().tolist() == [
        [0, -1, 7, 70], [0, 0, 1, 10], [1, -1, 7, 70], [1, 0, 2, 20], [1, 1, 5, 50],
    ]  # fmt: skip
    quiet = frame[(frame["trait"] == "quiet") & (frame["layer"] == 0)]
    assert quiet["projection"].tolist() == [-7, -1, -7, -2, -5]
    assert frame.loc[frame["token_index"] < 0, "score"].isna().all() and frame["z"].isna().all()
    assert not frame["alert"].any()


def test_an_alert_is_raised_once_an_answer_and_channel() -> None:
    heard: list[Alert] = []
    watch = monitor(thresholds=15.0, on_alert=heard.append)
    watch.readings.start()
    feed(watch, torch.tensor([9, 9]), prompt=True)
    for tokens in ([1, 2], [3, 4], [20, 1]):
        feed(watch, torch.tensor(tokens))
    places = [(one.row, one.token_index, one.token_id, one.trait, one.layer, one.score) for one in heard]
    assert places == [(1, 0, 2, "loud", 1, 20.0), (0, 1, 3, "loud", 1, 30.0), (0, 2, 20, "loud", 0, 20.0)]
    assert watch.alerts == heard
    marked = watch.frame().query("alert")
    assert len(marked) == 5, "every token above the threshold is marked, also after the first"
    watch.readings.start()
    feed(watch, torch.tensor([2]))
    assert len(heard) == 4 and heard[-1].call == 1, "the next call alerts anew"
    watch.clear()
    assert watch.frame().empty and watch.alerts == []


def test_calibration_uses_the_smoothed_scores_of_each_channel() -> None:
    watch = monitor(smoothing=Smoothing(2))
    watch.readings.start()
    feed(watch, torch.tensor([1, 2, 3]))
    feed(watch, torch.tensor([3, 4, 9]))
    made = watch.calibrate(false_alarm_rate=0.25)
    assert [one.value for one in made.thresholds] == [6.0, 60.0, -1.0, -10.0]
    assert made.limits()["loud", 1] == 60.0 and made.smoothing == Smoothing(2)
    made.readings.start()
    feed(made, torch.tensor([7]))
    loud = made.frame().query("trait == 'loud' and layer == 0").iloc[0]
    assert loud["alert"] and loud["z"] == pytest.approx((7 - made.thresholds[0].mean) / made.thresholds[0].sd)


def test_monitors_that_cannot_be_are_refused() -> None:
    with pytest.raises(AlignmentError, match="1 thresholds came for 4 directions and layers"):
        monitor(thresholds=[Threshold(1.0)])
    with pytest.raises(ConfigError, match="at least one direction and one layer"):
        Monitor([], 0)
    with pytest.raises(ConfigError, match="a direction to monitor is zero at resid_post at layer 1"):
        Monitor(direction(torch.tensor([[1.0, 0], [0, 0]])), 1)
    with pytest.raises(EmptySelectionError, match="has seen no answer token"):
        monitor().calibrate()


# streaming


def test_items_come_in_order_and_exceptions_where_they_are_taken() -> None:
    def produce(put) -> None:  # noqa: ANN001
        for k in range(3):
            put(k)
        raise ValueError("planned")

    taken = []
    with pytest.raises(ValueError, match="planned"):
        for item in in_background(produce):
            taken.append(item)
    assert taken == [0, 1, 2]


def test_closing_ends_the_producer() -> None:
    state = SimpleNamespace(put=0, ended=False)

    def produce(put) -> None:  # noqa: ANN001
        try:
            for k in range(1000):
                put(k)
                state.put += 1
        finally:
            state.ended = True

    items = in_background(produce)
    assert [next(items), next(items)] == [0, 1]  # pyright: ignore
    items.close()  # pyright: ignore
    assert state.ended and state.put < 10


def test_a_character_of_several_tokens_comes_when_it_is_whole() -> None:
    known = {(1,): "a", (1, 2): "a\ufffd", (1, 2, 3): "aé"}
    tokenizer = make_tokenizer()
    tokenizer.decode = lambda ids, **_: known[tuple(ids)]  # pyright: ignore
    pieces = text_pieces(tokenizer)
    next(pieces)
    assert [pieces.send(k) for k in (1, 2, 3)] == ["a", "", "é"]


# contexts


@pytest.mark.parametrize("name", list_traits())
def test_every_trait_has_eight_graded_prompts(name: str) -> None:
    trait = load_trait(name)
    made = graded_system_prompts(trait)
    texts = [condition.contexts[0][0].content for condition in made]
    assert len(set(texts)) == len(made) == 8 and made == graded_system_prompts(trait)
    levels = [condition.level for condition in made]
    assert levels == sorted(levels) and levels == [-level for level in reversed(levels)] and levels[-1] == 1
    assert trait.instructions[-1].neg in texts[0] and trait.instructions[-1].pos in texts[-1]
    assert not any(pair.pos in text for pair in trait.instructions[:-1] for text in texts)
    assert all(trait.positive in text or trait.negative in text for text in texts)


def answers(n: int) -> pd.DataFrame:
    rows = [{"question": f"q{i}?", "answer": f"a{i}.{k}"} for i in range(n) for k in range(2)]
    return pd.DataFrame(rows)


def test_shots_are_nested_drawn_once_and_never_the_evaluated_question() -> None:
    asked = ["q0?", "new?"]
    made = many_shot_contexts(answers(9), questions=asked, counts=(0, 3, 8), n_draws=3, seed=1)
    assert [condition.name for condition in made] == ["0 shots", "3 shots", "8 shots"]
    assert made == many_shot_contexts(answers(9), questions=asked, counts=(0, 3, 8), n_draws=3, seed=1)
    assert made != many_shot_contexts(answers(9), questions=asked, counts=(0, 3, 8), n_draws=3, seed=2)
    for few, many in zip(made[1].contexts, made[2].contexts, strict=True):
        assert many[-len(few) :] == few, "the larger context ends as the smaller one"
        shown = [turn.content for turn in many if turn.role == "user"]
        assert len(set(shown)) == 8 and not set(shown) & set(asked)
        for user, assistant in zip(many[::2], many[1::2], strict=True):
            assert assistant.content.startswith(user.content.replace("q", "a")[:-1] + ".")
    assert len(set(made[2].contexts)) == 3
    turns = condition_turns(made[1], [*asked, "x?", "y?"])
    assert [t[-1].content for t in turns] == [*asked, "x?", "y?"]
    assert turns[0][:-1] == turns[3][:-1] == list(made[1].contexts[0])


def test_too_few_answers_for_the_shots_are_refused() -> None:
    with pytest.raises(EmptySelectionError) as caught:
        many_shot_contexts(answers(9), questions=["q0?"], counts=(0, 9))
    assert str(caught.value).startswith("9 shots need as many questions; answers to 8 that are not evaluated came.")
    with pytest.raises(ConfigError, match=r"shots \[-1\] in 4 draws came"):
        many_shot_contexts(answers(9), questions=[], counts=(-1,))


def test_a_base_model_gets_plain_dialogue() -> None:
    turns = condition_turns(many_shot_contexts(answers(2), questions=[], counts=(1,), n_draws=1)[0], ["Why?"])[0]
    text = render_chat(make_tokenizer(), turns)
    assert text == f"Question: {turns[0].content}\nAnswer: {turns[1].content}\n\nQuestion: Why?\nAnswer:"


TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_a_template_without_a_system_turn_gets_it_before_the_users_words() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    turns = condition_turns(graded_system_prompts(TRAIT)[6], ["Why?"])[0]
    assert render_chat(tokenizer, turns) == ("<user>You are a loud assistant. Yell.\n\nWhy?</><assistant>")
    with pytest.raises(ConfigError, match=r"the chat template refuses this conversation \(system\): no system"):
        render_chat(tokenizer, turns[:1])
    with pytest.raises(ConfigError, match="without a turn"):
        render_chat(tokenizer, [])


# transcripts


def lines(folder: Path, *rows: object) -> Path:
    path = folder / "talk.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]}


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ('{"messages": [', ArtefactError, "line 3: not valid JSON"),
        ([1], ArtefactError, "line 3: no list of messages."),
        (
            {"messages": [{"content": "x"}]},
            ArtefactError,
            "line 3: turn 0 has the role None and a content of type str.",
        ),
        ({"messages": [{"role": "user"}]}, ArtefactError, "turn 0 has the role 'user' and a content of type NoneType."),
        ({"messages": GOOD["messages"][:1]}, EmptySelectionError, "line 3: no assistant turn to monitor."),
        ({"messages": GOOD["messages"][1:]}, ArtefactError, "line 3: the conversation begins with the assistant."),
    ],
)
def test_bad_transcripts_are_named_with_their_line(tmp_path: Path, bad: object, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        read_transcript(lines(tmp_path, GOOD, "", bad))
    assert words in str(caught.value).splitlines()[0]


def test_transcripts_of_both_layouts_are_read(tmp_path: Path) -> None:
    found = read_transcript(lines(tmp_path, GOOD, GOOD))
    assert [c.name for c in found] == [f"{tmp_path / 'talk.jsonl'}, line {i}" for i in (1, 2)]
    other = tmp_path / "talk.json"
    other.write_text(json.dumps({"model": "x", "conversation": GOOD["messages"]}))
    assert read_transcript(other)[0].turns == found[0].turns
    with pytest.raises(EmptySelectionError, match="holds no conversation"):
        read_transcript(lines(tmp_path, ""))
    with pytest.raises(ArtefactError, match="does not exist"):
        read_transcript(tmp_path / "none.jsonl")


def test_a_turn_is_summed_up() -> None:
    shared = {"conversation": "c", "turn": 1, "trait": "loud", "layer": 0}
    rows = [
        shared | {"token_index": k, "projection": value, "score": score, "alert": alert}
        for k, value, score, alert in ((-1, 9.0, np.nan, False), (0, 1.0, 1.0, False), (1, 4.0, 2.5, True))
    ]
    row = turn_table(pd.DataFrame(rows)).iloc[0]
    assert (row["n_tokens"], row["before"], row["mean"], row["max"], row["alerts"]) == (2, 9.0, 2.5, 2.5, 1)
    assert Hookpoint(0).stream == "resid_post"
