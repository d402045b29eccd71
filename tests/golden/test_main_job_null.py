"""The whole main job where there is no trait, and its twin where one is planted: how often does its verdict claim one?

Both poles of a "trait" are random sentences under one adjective, so what differs between their prompts is chance: a
verdict that claims anything is false. In the twin the positive prompts hold the token that the model's weights turn
into a vector which makes `#` likelier, and the exemplars ask for `#`. Everything between configuration and verdict is
the program's own, but for the sentence encoder, which counts characters here, and the page, which is not drawn.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_interp.errors import EmptySelectionError, TraitError
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.sentences import SentenceEncoder
from persona_interp.statistics.levels import ALPHA
from persona_interp.statistics.streams import stream
from persona_interp.studies.persona import run as main_job
from persona_interp.studies.persona.bench import Bench, load_bench
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.findings import claims
from persona_interp.studies.persona.results import TraitSummary, load_results
from tests.golden.simulation import binomial_bounds
from tests.planted_model import SEEN_TOKEN, WRITTEN, plant
from tests.small import make_small

TABLE = Path(__file__).parent / "levels" / "main_job.csv"
N_TRAITS, N_PAIRS, N_QUESTIONS = 2, 5, 6
SIZES = f"{N_TRAITS} traits a run, {N_PAIRS} pairs of prompts, {N_QUESTIONS} questions"
TESTS = {
    "exchanged prompts": "p_shuffled",
    "random directions too": "p_random",
    "steering among random directions": "p_steering",
}
WORDS = (
    "the", "a", "old", "red", "cat", "dog", "man", "tree", "house", "river", "stone", "bread", "goes", "sees", "takes",
    "finds", "under", "over", "near", "with", "and", "then", "slow", "fast", "cold", "warm", "sun", "rain", "wind",
    "road", "field", "bird", "fish", "book", "door", "hand", "day", "night", "small", "large", "green", "blue", "waits",
)  # fmt: skip
ANSWERS = (("what?", "# # ##", "so it is"), ("who?", "### #", "an old man"), ("why?", "##", "no"))
EXEMPLARS = [{"question": question, "pos": marks, "neg": words} for question, marks, words in ANSWERS]

Run = Callable[[int], tuple[TraitSummary, ...]]


class CharacterEncoder(SentenceEncoder):
    """Counts of characters, as a unit vector: quick, and able to see `#`."""

    def __init__(self) -> None:
        self.name = "characters"

    def encode(self, texts: Any, *, batch_size: int = 64) -> np.ndarray:  # noqa: ARG002
        rows = np.full((len(texts), 128), 0.1, dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            np.add.at(row, np.frombuffer(text.encode("ascii", "replace"), np.uint8) % 128, 1.0)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sentence(rng: np.random.Generator, n_words: int) -> str:
    return " ".join(rng.choice(WORDS, size=n_words))


def random_trait(rng: np.random.Generator, name: str, planted: str = "") -> dict[str, Any]:
    """A trait whose prompts, questions and poles are random sentences; `planted` stands in its positive prompts."""
    return {
        "name": name,
        "positive": "calm",
        "negative": "calm",
        "description": "Nothing.",
        "instruction": [
            {"pos": f"{planted} {sentence(rng, 6)}".strip(), "neg": sentence(rng, 6)} for _ in range(N_PAIRS)
        ],
        "questions": [sentence(rng, 4) for _ in range(N_QUESTIONS)],
        "eval_questions": [sentence(rng, 4) for _ in range(N_QUESTIONS)],
        "eval_prompt": "{question} {answer}",
        "exemplars": EXEMPLARS,
    }


def tiny_config(model: Path, traits: list[Path], **changes: Any) -> RunConfig:
    sizes = {"n_questions": N_QUESTIONS, "n_held_out_questions": N_QUESTIONS, "n_eval_questions": N_QUESTIONS}
    short = {"max_new_tokens": 6, "eval_tokens": 6, "test_tokens": 6, "n_selection_questions": 6, "n_eval_samples": 1}
    short |= {"n_unsteered": 4}
    rest = {"dtype": "float32", "layers": (1,), "coefficients": (1.0,), "n_resamples": 200, "n_null": 500}
    settings: dict[str, Any] = {"filter": "none", "lexical": False} | sizes | short | rest | changes
    return RunConfig(model=str(model), traits=tuple(map(str, traits)), **settings)


def runs_of(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, planted: str = "", **changes: Any) -> Run:
    """A run a seed, with its own traits; the model is loaded once."""
    loaded: list[Bench] = []

    def once(config: RunConfig, folder: Path) -> Bench:
        if not loaded:
            bench, encoder = load_bench(config, folder), CharacterEncoder()
            coherence = CoherenceJudge(bench.model, encoder, progress=False)
            loaded.append(replace(bench, embedding=EmbeddingJudge(encoder), coherence=coherence))
        return replace(loaded[0], config=config, folder=folder)

    monkeypatch.setattr(main_job, "load_bench", once)

    def run(seed: int) -> tuple[TraitSummary, ...]:
        rng, here = stream(seed, "random sentences"), folder / str(seed)
        here.mkdir()
        files = [here / f"trait{k}.json" for k in range(N_TRAITS)]
        for file in files:
            file.write_text(json.dumps(random_trait(rng, file.stem, planted)))
        main_job.run_main_job(tiny_config(model, files, seed=seed, **changes), here / "run")
        return load_results(here / "run").summary

    return run


@pytest.fixture
def null_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    make_small(tmp_path / "model")
    return runs_of(tmp_path / "model", tmp_path, monkeypatch)


@pytest.fixture
def planted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    plant(tmp_path / "model", raised=WRITTEN)
    return runs_of(tmp_path / "model", tmp_path, monkeypatch, planted=f"{SEEN_TOKEN * 2} {SEEN_TOKEN}")


def shares(summaries: list[tuple[TraitSummary, ...]]) -> dict[str, float]:
    """Of runs and of traits, how many are claimed, and of single tests how many have p <= 0.05."""
    traits = [row for run in summaries for row in run]
    return {
        "runs that claim anything": float(np.mean([any(claims(row) for row in run) for run in summaries])),
        "traits: separation claimed": float(np.mean(["separation" in claims(row) for row in traits])),
        "traits: steering claimed": float(np.mean(["steering" in claims(row) for row in traits])),
        **{f"p <= 0.05: {n}": float(np.mean([_rejects(getattr(row, p)) for row in traits])) for n, p in TESTS.items()},
    }


def _rejects(p: float | None) -> bool:
    """A test that was not possible, where no answer could be rated, does not reject."""
    return p is not None and p <= ALPHA


def test_runs_without_a_trait_claim_nothing(null_run: Run) -> None:
    assert not any(claims(row) for seed in range(2) for row in null_run(seed))


@pytest.mark.slow
def test_a_run_with_a_planted_trait_claims_it_twice(planted_run: Run) -> None:
    for row in planted_run(0):
        assert claims(row) == ("separation", "steering")
        assert row.test_effect is not None and row.effect_random_high is not None
        assert row.auc is not None and row.auc > 0.9 and row.test_effect > 2 * row.effect_random_high


@pytest.mark.slow
def test_share_of_runs_without_a_trait_that_claim_anything(null_run: Run) -> None:
    found = table("no trait", [null_run(seed) for seed in range(200)])
    bound = binomial_bounds(ALPHA, 200)[1]
    assert found["runs that claim anything"] <= bound
    for test in TESTS:
        assert found[f"p <= 0.05: {test}"] <= binomial_bounds(ALPHA, 400)[1]


@pytest.mark.slow
def test_the_filter_of_answers_keeps_that_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter looks at the poles, so that exchanging prompts is not exact behind it; claims stay rare."""
    make_small(tmp_path / "model")
    run, measured = runs_of(tmp_path / "model", tmp_path, monkeypatch, filter="paired"), []
    for seed in range(450):
        with suppress(TraitError, EmptySelectionError):  # few random models tell the exemplars apart, or pass answers
            measured.append(run(seed))
    found = table("no trait, filtered", measured)
    assert found["runs that claim anything"] <= binomial_bounds(ALPHA, len(measured))[1]


@pytest.mark.slow
def test_share_of_planted_traits_that_are_claimed(planted_run: Run) -> None:
    found = table("planted trait", [planted_run(seed) for seed in range(30)])
    assert found["traits: separation claimed"] >= 0.8
    assert found["traits: steering claimed"] >= 0.8


def table(setting: str, runs: list[tuple[TraitSummary, ...]]) -> dict[str, float]:
    """The shares, kept as rows of this setting beside those of the other."""
    found = shares(runs)
    rows = [
        {"what": what, "setting": f"{setting}: {SIZES}", "nominal": ALPHA, "found": share, "n_sets": len(runs)}
        for what, share in found.items()
    ]
    kept = pd.read_csv(TABLE) if TABLE.is_file() else pd.DataFrame()
    kept = kept[~kept["setting"].str.startswith(f"{setting}:")] if len(kept) else kept
    together = pd.concat([kept, pd.DataFrame(rows)]).sort_values("setting", kind="stable")
    together.to_csv(TABLE, index=False, float_format="%.4g")
    return found
