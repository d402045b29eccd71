"""The monitor around generation, as a stream, and as a command."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from persona_interp.activations.extract import extract_activations
from persona_interp.cli import app
from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, ContextLengthError, IncompatibleDirectionError, PersonaInterpError
from persona_interp.interventions.residual import Add
from persona_interp.interventions.text import generate_text
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.load import load_model
from persona_interp.models.protocol import Sampling
from persona_interp.models.tokens import encode, render_chat, text_batch
from persona_interp.studies.monitoring.monitor import Monitor
from persona_interp.studies.monitoring.smoothing import Smoothing
from persona_interp.studies.monitoring.transcript import monitor_transcripts, read_transcript
from tests.contract.test_hooks import anatomy
from tests.contract.tiny import BACKENDS, D_MODEL, N_LAYERS, TOLERANCE, Tiny
from tests.small import direction, make_small

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
TRANSCRIPT = DATA / "assistant_axis" / "transcripts" / "writing.json"
PROMPTS = ["Why is it so?", "Who?", "What do you think of it all?"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module", params=BACKENDS)
def model(request: pytest.FixtureRequest, small: Tiny) -> HookedModelBase:
    return small.hooked(request.param)


@pytest.fixture(scope="module")
def two(small: Tiny) -> list[Direction]:
    vectors = torch.randn(2, N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(0))
    made = small.hooked("nnsight").provenance
    norms = torch.full((N_LAYERS,), 4.0)
    return [direction(v, trait=t, norms=norms, provenance=made) for v, t in zip(vectors, ("loud", "shy"), strict=True)]


def test_what_is_monitored_is_what_extraction_gives(model: HookedModelBase, two: list[Direction]) -> None:
    """The mean over answer tokens is the response mean's projection, and the token before it is prompt_last's."""
    watch = Monitor(two, [0, 2])
    with watch.watching(model):
        texts = generate_text(model, PROMPTS, max_new_tokens=6, temperature=1.0)
    frame, ids = watch.frame(), []
    for row in range(len(PROMPTS)):
        rows = frame[(frame["row"] == row) & (frame["trait"] == "loud") & (frame["layer"] == 0)]
        ids.append(rows.loc[rows["token_index"] >= 0, "token_id"].tolist())
        assert model.tokenizer.decode(ids[-1], skip_special_tokens=True) == texts[row]
    for pooling, chosen in (("response_mean", frame["token_index"] >= 0), ("prompt_last", frame["token_index"] < 0)):
        held = extract_activations(model, PROMPTS, ids, pooling=pooling, progress=False)  # pyright: ignore
        for one in two:
            expected = one.project(held)
            for layer in (0, 2):
                rows = frame[chosen & (frame["trait"] == one.trait) & (frame["layer"] == layer)]
                found = torch.tensor(rows.groupby("row")["projection"].mean().to_numpy(), dtype=torch.float32)
                torch.testing.assert_close(found, expected[:, layer], **TOLERANCE)


def test_a_steered_answer_is_monitored_as_steered(model: HookedModelBase, two: list[Direction]) -> None:
    watch = Monitor(two[0], 1)
    for coefficient in (0.0, 1.0):
        with watch.watching(model):
            generate_text(model, PROMPTS, intervention=Add(two[0], 1, coefficient), max_new_tokens=4)
    means = watch.frame().query("token_index >= 0").groupby("call")["projection"].mean()
    assert means[1] > means[0] + 1


def test_a_plain_model_is_monitored_with_equal_numbers(small: Tiny, two: list[Direction]) -> None:
    hooked, tokenizer = small.hooked("nnsight"), small.hooked("nnsight").tokenizer
    ours, theirs = Monitor(two, 1), Monitor(two, 1)
    batch = text_batch(tokenizer, PROMPTS)
    with ours.watching(hooked):
        hooked.generate(batch, sampling=Sampling(5, 0.0))
    with theirs.watching(small.plain, tokenizer):
        small.plain.generate(batch.ids, attention_mask=batch.mask.long(), max_new_tokens=5, do_sample=False)  # pyright: ignore
    keys = ["row", "token_index", "token_id", "token", "trait", "layer"]
    both = ours.frame().merge(theirs.frame(), on=keys)
    assert len(both) == len(theirs.frame()) > 6
    np.testing.assert_allclose(both["projection_x"], both["projection_y"], rtol=1e-4, atol=1e-4)
    other = [direction(torch.ones(N_LAYERS, D_MODEL))]
    with pytest.raises(IncompatibleDirectionError), Monitor(other, 1).watching(small.plain):
        pass


def test_a_stream_is_the_text_with_its_readings(model: HookedModelBase, two: list[Direction]) -> None:
    whole = Monitor(two, 1, thresholds=0.0)
    with whole.watching(model):
        text = generate_text(model, PROMPTS[:1], max_new_tokens=6)[0]
    watch, parts = Monitor(two, 1, thresholds=0.0), anatomy(model)
    streamed = list(watch.stream(model, PROMPTS[0], max_new_tokens=6))
    assert "".join(one.text for one in streamed) == text
    assert [one.index for one in streamed] == list(range(len(streamed)))
    frame = whole.frame().query("token_index >= 0")
    np.testing.assert_allclose(
        [one.projections for one in streamed], frame["projection"].to_numpy().reshape(-1, 2), rtol=1e-5
    )
    assert [one.alert for one in streamed] == [any(score > 0 for score in one.scores) for one in streamed]
    assert anatomy(model) == parts


def test_a_stream_can_be_stopped_and_fails_where_it_is_read(model: HookedModelBase, two: list[Direction]) -> None:
    parts = anatomy(model)
    stream = Monitor(two, 1).stream(model, PROMPTS[0], max_new_tokens=200)
    next(stream)
    stream.close()  # pyright: ignore
    assert anatomy(model) == parts
    with pytest.raises(ContextLengthError):
        next(Monitor(two, 1).stream(model, PROMPTS[0], max_new_tokens=5000))

    def stop(alert: object) -> None:
        raise InterruptedError(str(alert))

    with pytest.raises(InterruptedError, match="Alert"):
        list(Monitor(two, 1, thresholds=-1e6, on_alert=stop).stream(model, PROMPTS[0]))
    assert anatomy(model) == parts
    assert model.generate(text_batch(model.tokenizer, PROMPTS), sampling=Sampling(2)).texts


@pytest.fixture(scope="module")
def saved(small: Tiny, two: list[Direction], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("vector")
    two[0].save(folder / "loud.safetensors")
    options = ["--vector", folder / "loud.safetensors", "--layer", 1, "--model", small.folder, "--dtype", "float32"]
    return [str(option) for option in (*options, "--backend", "nnsight")]


def talk(folder: Path, n: int, name: str = "talk.jsonl") -> Path:
    says = [("user", "Hi there"), ("assistant", "Well, hello."), ("user", "And?"), ("assistant", "No more of it")]
    rows = [{"messages": [{"role": r, "content": f"{text} {i}"} for r, text in says]} for i in range(n)]
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["monitor", *map(str, arguments)])
    if done.exception is not None:
        raise done.exception
    assert done.exit_code == 0
    return done.output


def test_a_turn_of_a_transcript_is_read_as_if_it_were_generated(
    small: Tiny, two: list[Direction], tmp_path: Path
) -> None:
    model, watch = small.hooked("nnsight"), Monitor(two, [1, 2])
    conversation = read_transcript(talk(tmp_path, 1))[0]
    frame = monitor_transcripts(watch, model, [conversation], progress=False)
    assert list(frame["turn"].unique()) == [1, 3]
    ids = frame.query("turn == 3 and token_index >= 0 and trait == 'shy' and layer == 2")["token_id"].tolist()
    assert model.tokenizer.decode(ids) == " No more of it 0"
    prompt = render_chat(model.tokenizer, conversation.turns[:3])
    assert encode(model.tokenizer, [" No more of it 0"])[0] == ids
    held = extract_activations(model, [prompt], [ids], progress=False)
    rows = frame.query("turn == 3 and token_index >= 0 and trait == 'shy' and layer == 2")
    assert rows["projection"].mean() == pytest.approx(float(two[1].project(held)[0, 2]), rel=1e-4)


def test_the_command_prints_turns_and_writes_tokens_and_a_figure(saved: list[str], tmp_path: Path) -> None:
    csv, png = tmp_path / "out" / "tokens.csv", tmp_path / "tokens.png"
    neutral = talk(tmp_path, 15, "neutral.jsonl")
    options = ["--neutral", neutral, "--false-alarm-rate", 0.05, "--window", 2, "--out", csv, "--figure", png]
    printed = command(talk(tmp_path, 2), *saved, *options)
    assert "from 30 neutral answers, at most 0.05 of which raise an alert" in printed
    assert "talk.jsonl, line 2" in printed.replace("\n", "")
    table = pd.read_csv(csv)
    assert set(table["turn"]) == {1, 3} and table["z"].notna().any()
    assert png.read_bytes().startswith(b"\x89PNG")
    loud = command(talk(tmp_path, 1), *saved, "--threshold", -1000)
    assert "conversation" not in loud and "alerts" in loud


IDLE = " was given without --neutral, where it would do nothing."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--threshold", 1, "--neutral", "x.jsonl"], "got both --threshold and --neutral."),
        (
            ["--threshold", 1, "--false-alarm-rate", 0.1],
            "--false-alarm-rate was given without --neutral, where it would do nothing.",
        ),
        (["--figure", "x.svg"], "a figure cannot be written as 'x.svg'."),
        (["--layer", 9], "the direction loud has no vector for resid_post at layer 9."),
    ],
)
def test_wrong_options_are_errors_of_one_paragraph(saved: list[str], tmp_path: Path, options: list, words: str) -> None:
    with pytest.raises(PersonaInterpError) as caught:
        command(talk(tmp_path, 1), *saved, *options)
    assert str(caught.value).splitlines()[0] == words


def test_too_little_neutral_traffic_and_too_long_talk_are_errors(saved: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs at least 99 independent neutral samples .*, got 4"):
        command(talk(tmp_path, 1), *saved, "--neutral", talk(tmp_path, 2, "neutral.jsonl"))
    long = tmp_path / "long.json"
    long.write_text(
        json.dumps({"messages": [{"role": "user", "content": "a" * 1300}, {"role": "assistant", "content": "b"}]})
    )
    with pytest.raises(ContextLengthError, match=r"long.json, row 1 is \d+ tokens long; .* holds 512"):
        command(long, *saved)


@pytest.mark.skipif(not TRANSCRIPT.is_file(), reason="optional data of the Assistant Axis")
def test_a_transcript_of_the_assistant_axis_is_monitored(tmp_path: Path, two: list[Direction]) -> None:
    make_small(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"max_position_embeddings": 20_000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_model(tmp_path, "nnsight", device="cpu")
    conversation = read_transcript(TRANSCRIPT)[0]
    frame = monitor_transcripts(Monitor(two[0], 1, smoothing=Smoothing(5)), model, [conversation], progress=False)
    said = [k for k, turn in enumerate(conversation.turns) if turn.role == "assistant"]
    assert list(frame["turn"].unique()) == said and frame["projection"].notna().all()
