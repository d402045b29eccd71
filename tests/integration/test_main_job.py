"""The main job from a configuration to a report, once whole, and again after being killed wherever it can be."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_interp import io
from persona_interp.data.traits import Trait
from persona_interp.directions.direction import Direction
from persona_interp.endpoint.usage import Usage
from persona_interp.errors import (
    ArtefactError,
    ConfigError,
    EmptySelectionError,
    HookpointError,
    ModelError,
    TraitError,
)
from persona_interp.figures.results import load_results
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Calibration, Score
from persona_interp.main_job.config import RunConfig
from persona_interp.main_job.run import run_main_job
from persona_interp.measurements.frame import Measurements
from persona_interp.measurements.statistics import benjamini_hochberg
from persona_interp.models.hooked import HookedModelBase
from persona_interp.types import POOLINGS
from tests.integration.conftest import TRAIT

TRAITS = ("cheerful", "gloomy")
TABLES = (
    "agreement",
    "alpha",
    "baselines",
    "effects",
    "examples",
    "geometry",
    "judge_pairs",
    "nulls",
    "prompted",
    "separation",
    "steering",
)
FIGURES = (
    "baselines_by_layer",
    "coherence",
    "geometry",
    "judge_agreement",
    "relative_norm_by_layer",
    "separation_by_layer",
    "steering_dose_response",
)


@pytest.fixture(scope="module")
def whole(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    report = run_main_job(config, folder)
    assert report == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def small(config: RunConfig) -> RunConfig:
    """Of one trait, for runs that are made many times."""
    return replace(config, traits=config.traits[:1], n_random=1)


@pytest.fixture(scope="module")
def small_whole(small: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("small") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("persona_interp.report.write_report", lambda folder: folder / "report.html")
        run_main_job(small, folder)
    return folder


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take most of the time of so small a run, and say nothing about how it goes on."""
    monkeypatch.setattr("persona_interp.report.write_report", lambda folder: folder / "report.html")


def results_of(folder: Path) -> dict[str, bytes]:
    """Everything that must not depend on how a run came about: the numbers, the vectors and the answers."""
    chosen = [folder / "measurements.parquet", folder / "summary.json"]
    for pattern in ("tables/*.csv", "vectors/*", "rollouts/**/*.parquet", "steering/**/*.parquet"):
        chosen += folder.glob(pattern)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in chosen}


def assert_same_results(folder: Path, whole: Path) -> None:
    came, expected = results_of(folder), results_of(whole)
    assert sorted(came) == sorted(expected)
    assert [name for name in came if came[name] != expected[name]] == []
    assert list(folder.rglob("*.tmp")) == []


def test_every_answer_and_score_is_kept(whole: Path, config: RunConfig) -> None:
    for trait in TRAITS:
        for part, n in (("extract", 2 * 2 * 4), ("held_out", 2 * 1 * 3)):
            folder = whole / "rollouts" / trait / part
            answers = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("part-*.parquet"))])
            scores = pd.read_parquet(folder / "scores.parquet")
            assert len(answers) == len(scores) == n
            assert {"question", "system", "side", "answer", "response_ids"} <= set(answers.columns)
            judges = ["embedding (all-MiniLM-L6-v2)", f"likelihood ({config.model})"]
            assert list(scores.columns) == [*judges, "coherent"]
            assert scores[judges].stack().between(0, 100).all()


def test_vectors_have_manifests_and_load(whole: Path, config: RunConfig) -> None:
    expected = {f"{t}.{p}.{end}" for t in TRAITS for p in POOLINGS for end in ("json", "safetensors")}
    assert {path.name for path in (whole / "vectors").iterdir()} == expected
    for trait in TRAITS:
        for pooling in POOLINGS:
            direction = Direction.load(whole / "vectors" / f"{trait}.{pooling}.safetensors")
            assert (direction.trait, direction.provenance.pooling) == (trait, pooling)
            assert direction.provenance.model == config.model
            assert direction.vectors.shape == (3, 32)


def test_measurements_hold_every_cell(whole: Path) -> None:
    frame = Measurements.load(whole / "measurements.parquet").frame
    assert set(frame["trait"]) == set(TRAITS)
    assert set(frame["method"]) == {"persona_vector", "random"}
    assert {m.partition(":")[0] for m in frame["metric"]} == {"expression", "coherence", "passes_gate"}
    assert set(frame.loc[frame["method"] == "persona_vector", "coefficient"]) == {-0.3, 0.0, 0.3}


def test_every_table_and_figure_is_there(whole: Path) -> None:
    assert sorted(path.name for path in (whole / "tables").iterdir()) == [f"{name}.csv" for name in TABLES]
    expected = sorted(f"{name}.{end}" for name in FIGURES for end in ("csv", "pdf", "png"))
    assert sorted(path.name for path in (whole / "figures").iterdir()) == expected
    heads = {".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF-"}
    for path in (whole / "figures").iterdir():
        assert path.read_bytes().startswith(heads.get(path.suffix, b""))
        assert path.suffix != ".csv" or len(pd.read_csv(path)) > 0
    assert load_results(whole).traits == list(TRAITS)


def test_the_report_is_self_contained(whole: Path) -> None:
    page = (whole / "report.html").read_text(encoding="utf-8")
    loads = re.findall(
        r"""(?:src|href|action|data)\s*=\s*["']([^"']*)|url\(([^)]*)\)|@import|<(?:script|link)\b""", page
    )
    assert [
        target for pair in loads for target in pair if target and not target.startswith(("data:image/png", "#"))
    ] == []
    assert not re.search(r"<(script|link|iframe|object|embed)\b|@import", page)
    assert page.count("data:image/png;base64,") == len(FIGURES)
    for expected in (*TRAITS, "How is snow?", "unsteered", "embedding (all-MiniLM-L6-v2)"):
        assert expected in page


def test_the_summary_is_of_these_numbers(whole: Path) -> None:
    for row, trait in zip(json.loads((whole / "summary.json").read_text()), TRAITS, strict=True):
        assert row["trait"] == trait
        assert (row["n_positive"], row["n_negative"]) == (8, 8)
        assert (row["n_kept_positive"], row["n_kept_negative"]) <= (8, 8)
        assert row["filter"] == "none"
        assert (row["chosen_layer"], row["chosen_coefficient"]) == (1, 0.3)
        assert row["effect_random_low"] <= row["effect_random_high"]


@pytest.mark.usefixtures("no_report")
def test_a_second_call_does_nothing_new(whole: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished run generated or judged again")

    monkeypatch.setattr(HookedModelBase, "generate", refuse)
    monkeypatch.setattr(EmbeddingJudge, "rate", refuse)
    monkeypatch.setattr(LikelihoodJudge, "rate", refuse)
    before = results_of(whole)
    run_main_job(config, whole)
    assert results_of(whole) == before


class Kill:
    """Ends a run at the n-th call of a function, as Ctrl-C would."""

    def __init__(self, call: Callable, at: int) -> None:
        self.call, self.left = call, at

    def wrapped(self) -> Callable:
        def counted(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return self.call(*args, **kwargs)

        return counted


PLACES = {"generate": (HookedModelBase, "generate"), "rate": (EmbeddingJudge, "rate"), "write": (os, "fsync")}


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("place", "at"),
    [
        *(("generate", n) for n in (1, 2, 4, 6, 9)),
        *(("rate", n) for n in (1, 3, 5)),
        *(("write", n) for n in (1, 3, 9, 17)),
    ],
)
def test_a_killed_run_goes_on_to_the_same_result(
    place: str,
    at: int,
    small_whole: Path,
    small: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, name = PLACES[place]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owner, name, Kill(getattr(owner, name), at).wrapped())
        run_main_job(small, tmp_path / "run")
    assert list(tmp_path.rglob("*.tmp")) == []
    assert not (tmp_path / "run" / "measurements.parquet").exists()
    run_main_job(small, tmp_path / "run")
    assert_same_results(tmp_path / "run", small_whole)


@pytest.mark.usefixtures("no_report")
def test_a_run_killed_again_and_again_still_ends_the_same(
    small_whole: Path, small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0
    while not (tmp_path / "summary.json").exists():
        attempts += 1
        with monkeypatch.context() as patched:
            patched.setattr(HookedModelBase, "generate", Kill(HookedModelBase.generate, 4).wrapped())
            try:
                run_main_job(small, tmp_path)
            except KeyboardInterrupt:
                continue
    n_calls = len(list(small_whole.rglob("part-*.parquet")))
    assert attempts == -(-n_calls // 3) > 1  # three calls are finished at a time
    assert_same_results(tmp_path, small_whole)


SIGKILLED = """
import json, os, signal, sys
from persona_interp.main_job.config import RunConfig
from persona_interp.main_job.run import run_main_job

settings = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}
left = [12]

def die(_):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = die
run_main_job(RunConfig(**settings), __import__("pathlib").Path(sys.argv[2]))
"""


@pytest.mark.usefixtures("no_report")
def test_a_process_killed_while_it_writes_goes_on_to_the_same_result(
    small_whole: Path, small: RunConfig, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SIGKILLED, json.dumps(asdict(small)), str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("*.tmp"))) == 1  # SIGKILL leaves no time to tidy up
    run_main_job(small, tmp_path / "run")
    assert_same_results(tmp_path / "run", small_whole)


def test_another_configuration_in_the_folder_is_refused(whole: Path, config: RunConfig) -> None:
    before = results_of(whole)
    with pytest.raises(ConfigError) as caught:
        run_main_job(replace(config, seed=7, layers=(2,)), whole)
    assert str(caught.value) == (
        f"{whole} holds results of another configuration.\n"
        "  layers: there [1], now [2]\n"
        "  seed: there 0, now 7\n"
        "  Use another folder, or delete this one to start again."
    )
    assert results_of(whole) == before


KEY = "a-key-that-no-file-may-hold"


class FakeAPI:
    """Stands in for the API judge: rates by length, refuses the first answer, counts what it was asked."""

    name, description = "api (rater)", "rates by length"
    asked = 0

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        self.asked += len(answers)
        rated = [Score(float(min(100, len(answer))), float(len(answer))) for answer in answers]
        return [Score(float("nan"), float("nan"), "REFUSAL"), *rated[1:]]


@pytest.fixture
def fake_api(monkeypatch: pytest.MonkeyPatch) -> FakeAPI:
    fake = FakeAPI()
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(
        "persona_interp.main_job.run.with_api_judge",
        lambda bench: replace(bench, api=fake, usage=lambda: Usage(requests=fake.asked)),
    )
    return fake


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the likelihood judge of a model unable to tell exemplars apart."""

    def of(model: str) -> None:
        calibrate = LikelihoodJudge.calibration

        def calibration(self: LikelihoodJudge, trait: Trait) -> Calibration:
            if model in self.name:
                raise TraitError(f"cannot calibrate {self.name} for {trait.name}.", "Use another.")
            return calibrate(self, trait)

        monkeypatch.setattr(LikelihoodJudge, "calibration", calibration)

    return of


@pytest.mark.usefixtures("no_report")
def test_further_judges_rate_held_out_answers_and_the_chosen_setting(
    small: RunConfig, other_model_folder: Path, fake_api: FakeAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LikelihoodJudge, "calibration", lambda *_: Calibration(0.0, 1.0))
    models = (small.model, str(other_model_folder))
    config = replace(small, judge_models=models, api_judge="rater", coefficients=(-0.3, 0.2, 0.3))
    run_main_job(config, tmp_path)
    names = ["embedding (all-MiniLM-L6-v2)", *(f"likelihood ({name})" for name in models), "api (rater)"]
    effects = pd.read_csv(tmp_path / "tables" / "effects.csv")
    assert list(effects["judge"]) == names
    assert list(effects["n"]) == [6, 6, 6, 5]  # 3 steered and 3 unsteered answers, the first one refused
    scored = pd.read_parquet(tmp_path / "steering" / "cheerful" / "evaluation" / "scored.parquet")
    assert scored[names].notna().sum().tolist() == [12, 12, 6, 5]
    assert fake_api.asked == 6 + 6
    agreement = pd.read_csv(tmp_path / "tables" / "agreement.csv")
    assert len(agreement[agreement["condition"] == "all answers"]) == 6
    assert set(pd.read_csv(tmp_path / "tables" / "alpha.csv")["n_judges"]) == {4}
    unscored = pd.read_csv(tmp_path / "tables" / "unscored.csv", keep_default_na=False)
    assert unscored[["condition", "judge", "reason"]].values.tolist() == [
        ["prompted", "api (rater)", "REFUSAL"],
        ["steered", "api (rater)", "REFUSAL"],
    ]
    assert json.loads((tmp_path / "provenance.json").read_text())["api"]["requests"] == 12
    assert [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []
    before = results_of(tmp_path)
    run_main_job(config, tmp_path)
    assert fake_api.asked == 12
    assert results_of(tmp_path) == before


@pytest.mark.usefixtures("no_report")
def test_a_further_judge_that_cannot_see_a_trait_is_named_and_left_out(
    small: RunConfig, other_model_folder: Path, blind: Callable[[str], None], tmp_path: Path
) -> None:
    blind(str(other_model_folder))
    run_main_job(replace(small, judge_models=(small.model, str(other_model_folder))), tmp_path)
    (summary,) = json.loads((tmp_path / "summary.json").read_text())
    name = f"likelihood ({other_model_folder})"
    assert f"Without the judge {name}: cannot calibrate {name} for cheerful." in summary["notes"]
    assert summary["n_judges_beside"] == 1
    assert name not in set(pd.read_csv(tmp_path / "tables" / "effects.csv")["judge"])


@pytest.mark.usefixtures("no_report")
def test_the_judge_that_filters_must_see_the_trait(
    small: RunConfig, blind: Callable[[str], None], tmp_path: Path
) -> None:
    blind(small.model)
    with pytest.raises(TraitError, match="cannot calibrate"):
        run_main_job(replace(small, filter="paired"), tmp_path / "filtered")
    run_main_job(small, tmp_path / "none")
    effects = pd.read_csv(tmp_path / "none" / "tables" / "effects.csv")
    assert list(effects["judge"]) == ["embedding (all-MiniLM-L6-v2)"]
    assert pd.read_csv(tmp_path / "none" / "tables" / "agreement.csv").empty


def test_baselines_and_every_null_are_in_the_tables(whole: Path) -> None:
    baselines = pd.read_csv(whole / "tables" / "baselines.csv")
    methods = ["lda", "logistic", "pca", "persona_vector", "random"]
    assert sorted(set(baselines["method"])) == methods
    assert len(baselines) == 2 * 5 * 3
    assert set(baselines.loc[baselines["chosen"], "layer"]) == {1}
    separation = pd.read_csv(whole / "tables" / "separation.csv").query("pooling == 'response_mean'")
    assert baselines.query("method == 'persona_vector'")["auc"].tolist() == pytest.approx(separation["auc"].tolist())
    nulls = pd.read_csv(whole / "tables" / "nulls.csv")
    assert sorted(set(nulls["family"])) == ["components", "other_traits", "random_directions", "shuffled_labels"]
    assert set(nulls["test"]) == set(TRAITS)


def test_every_p_value_of_the_run_is_corrected_together(whole: Path) -> None:
    rows, q_of = json.loads((whole / "summary.json").read_text()), {}
    for row in rows:
        for test in ("shuffled", "random", "other_traits", "components"):
            if row[f"p_{test}"] is not None:
                q_of[row["trait"], test] = (row[f"p_{test}"], row[f"q_{test}"])
    p, q = (np.array(values) for values in zip(*q_of.values(), strict=True))
    assert len(p) >= 6
    np.testing.assert_allclose(q, benjamini_hochberg(p))
    assert {row["best_other_traits"] for row in rows} == set(TRAITS)


@pytest.fixture
def misspelt(tmp_path: Path) -> Callable[..., Path]:
    """Trait files with something wrong."""

    def write(**changes: object) -> Path:
        data = {key: value for key, value in (TRAIT | changes).items() if value is not None}
        path = tmp_path / "misspelt.json"
        path.write_text(json.dumps(data))
        return path

    return write


@pytest.mark.usefixtures("no_report")
def test_a_run_that_cannot_start_leaves_its_folder_free(
    config: RunConfig, tmp_path: Path, misspelt: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "run"
    few = str(misspelt(exemplars=TRAIT["exemplars"][:2]))
    for wrong, error, words in (
        (replace(config, model=str(tmp_path)), ModelError, "cannot load"),
        (replace(config, layers=(1, 3)), HookpointError, r"resid_post at layer 3 .*\n  Layers run 0\.\.2"),
        (replace(config, api_judge="rater"), ConfigError, "cannot ask https://api.openai.com/v1: the key"),
        (replace(config, n_questions=5), ConfigError, "5 questions were asked for; cheerful has 4"),
        (replace(config, n_held_out_questions=9), ConfigError, r"9 questions were .* cheerful has 3 \(eval\)"),
        (replace(config, n_instructions=3), ConfigError, "3 instructions were asked for; cheerful has 2"),
        (replace(config, traits=(few,)), TraitError, "needs at least 3 exemplar answers a pole; cheerful has 2"),
    ):
        with pytest.raises(error, match=words):
            run_main_job(wrong, folder)
        assert not folder.exists()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"traits": ()}, "traits must name at least one trait"),
        ({"traits": ("evil", "evil")}, "none twice"),
        ({"coefficients": (-0.1,)}, "coefficients must hold a positive number"),
        ({"coefficients": (0.1, float("inf"))}, "coefficients must be finite"),
        ({"judge_models": ("a", "a")}, "judge_models must not name a model twice"),
        ({"n_samples": 0}, "counts must be at least 1"),
    ],
)
def test_a_configuration_that_can_only_fail_is_refused(config: RunConfig, changes: dict, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        replace(config, **changes)


def test_a_filter_that_leaves_nothing_names_itself(
    small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undecided(*arguments: Sequence[str]) -> list[Score]:
        return [Score(50.0, 0.0)] * len(arguments[-1])

    monkeypatch.setattr(LikelihoodJudge, "rate", undecided)
    with pytest.raises(EmptySelectionError) as caught:
        run_main_job(replace(small, filter="paired"), tmp_path)
    assert str(caught.value).startswith(
        "the filter 'paired' (threshold 50) left 0 positive and 0 negative answers of 16"
    )


@pytest.mark.usefixtures("no_report")
def test_a_truncated_table_is_named(small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(HookedModelBase, "generate", Kill(HookedModelBase.generate, 3).wrapped())
        run_main_job(small, tmp_path)
    for path in (next(tmp_path.rglob("scores.parquet")), next(tmp_path.rglob("part-*.parquet"))):
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        with pytest.raises(ArtefactError, match=f"{re.escape(str(path))} is not a whole Parquet file.*\n.*Delete it"):
            run_main_job(small, tmp_path)
        path.write_bytes(kept)


@pytest.mark.usefixtures("no_report")
def test_a_full_disk_says_so_and_the_run_goes_on_afterwards(
    small_whole: Path, small: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, n_left = os.fsync, [10]

    def full(descriptor: int) -> None:
        n_left[0] -= 1
        if n_left[0] < 0:
            raise OSError(28, os.strerror(28))
        write(descriptor)

    with (
        monkeypatch.context() as patched,
        pytest.raises(ArtefactError, match="could not write .*No space left") as caught,
    ):
        patched.setattr(io.os, "fsync", full)
        run_main_job(small, tmp_path)
    assert "run the same command again: it goes on where it stopped" in str(caught.value)
    assert list(tmp_path.rglob("*.tmp")) == []
    run_main_job(small, tmp_path)
    assert_same_results(tmp_path, small_whole)
