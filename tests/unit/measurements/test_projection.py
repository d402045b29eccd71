import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from persona_interp.errors import ArtefactError, EmptySelectionError, IncompatibleDirectionError
from persona_interp.measurements.projection import project_texts, read_samples
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import encode, token_batch
from persona_interp.types import Hookpoint
from tests.contract.tiny import EOS, PAD, Tiny
from tests.small import direction


def lines(tmp_path: Path, *rows: object) -> str:
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_a_text_is_one_sample():
    assert read_samples("Just a text.").to_dict("records") == [{"prompt": None, "text": "Just a text."}]


def test_lines_of_a_file(tmp_path: Path):
    made = read_samples(lines(tmp_path, {"text": "ünï"}, "", {"prompt": "Why?", "response": "So."}, {"text": "  "}))
    assert made["text"].tolist() == ["ünï", "So."]
    assert pd.isna(made["prompt"][0]) and made["prompt"][1] == "Why?"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Why?"}, "none of the known forms; keys with a value: 'prompt'.\n  Give `text`, or"),
        ({"text": 3}, "none of the known forms"),
        ([1], "not an object, nor a list of turns."),
        ('{"text": "cut', "not valid JSON ("),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, row: object, said: str):
    source = lines(tmp_path, {"text": "a"}, "", row)
    with pytest.raises(ArtefactError) as caught:
        read_samples(source)
    assert str(caught.value).startswith(f"samples.jsonl, line 3 is no text to project: {said}")


def test_nothing_to_project(tmp_path: Path):
    for source in ("", "  ", lines(tmp_path, {"text": " "})):
        with pytest.raises(EmptySelectionError) as caught:
            read_samples(source)
        assert str(caught.value) == f"{source!r} holds no text to project.\n  Give a text, or a file with some."
    with pytest.raises(ArtefactError, match="does not exist"):
        read_samples(str(tmp_path / "none.jsonl"))


def test_projection_of_texts_and_of_answers(small: Tiny, model: HookedModelBase):
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    made = direction(vectors, provenance=model.provenance)
    other = -direction(vectors, trait="calm", provenance=model.provenance)
    samples = pd.DataFrame({"prompt": [None, "Why?"], "text": ["It is so.", "It is so."]})
    table = project_texts(model, samples, [made, other], 1)
    assert list(table.columns) == [
        "prompt", "text", "loud (persona_vector, layer 1)", "calm (persona_vector, layer 1)",
    ]  # fmt: skip
    text = encode(model.tokenizer, ["It is so."])[0]
    prompt = encode(model.tokenizer, ["Question: Why?\nAnswer:"])[0]
    for row, start in enumerate(([EOS], prompt)):
        residual = small.run(token_batch([start], [text], pad_id=PAD)).streams[Hookpoint(1)][0]
        mean = residual[-len(text) :].mean(0)
        expected = float(mean @ vectors[1] / vectors[1].norm())
        assert table.iloc[row, 2] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert table.iloc[row, 3] == pytest.approx(-expected, rel=1e-4, abs=1e-5)


def test_another_model_is_refused(model: HookedModelBase):
    with pytest.raises(IncompatibleDirectionError):
        project_texts(model, pd.DataFrame({"prompt": [None], "text": ["x"]}), [direction(torch.ones(3, 32))], 1)
