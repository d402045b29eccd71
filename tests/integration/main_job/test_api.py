"""The main job with its API judge as users run it: the real client and cache, against a server that fails."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from persona_interp.cli import app
from persona_interp.errors import ArtefactError, ConfigError, EndpointError
from persona_interp.judges.rubric import PROBE
from persona_interp.studies.persona.config import RunConfig
from persona_interp.studies.persona.run import run_main_job
from tests.servers import KEY, FaultServer, Sent, completion, failure

JUDGE = "api (judge-1)"
HELD_OUT = Path("rollouts", "cheerful", "held_out")
EVALUATION = Path("steering", "cheerful", "evaluation")


def number(first: int) -> Sent:
    """A rating as one token: half of the probability on it, the other half on 10."""
    return completion(str(first), [[(str(first), 0.5), ("10", 0.5)]])


def by_question(body: dict[str, Any], _before: int) -> Sent:
    """A rating of 40 for one question, a refusal for another one, and an error for the third one."""
    asked = body["messages"][-1]["content"]
    if asked == PROBE:
        return number(73)
    if "What is milk?" in asked:
        return failure(400, f"no, {KEY} said so")
    return completion("REFUSAL", [[("REF", 1.0)], [("USAL", 1.0)]]) if "Why walk?" in asked else number(70)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    with FaultServer(by_question) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield running


@pytest.fixture
def judged(config: RunConfig) -> RunConfig:
    return replace(config, traits=config.traits[:1], n_random=0, api_judge="judge-1")


def reasons(folder: Path) -> list[tuple[str, str]]:
    unscored = pd.read_csv(folder / "tables" / "unscored.csv", keep_default_na=False)
    assert set(unscored["judge"]) == {JUDGE}
    return sorted(zip(unscored["condition"], unscored["reason"], strict=True))


def test_ratings_refusals_and_failures_of_a_server_are_in_the_results(
    judged: RunConfig, server: FaultServer, tmp_path: Path
) -> None:
    run_main_job(judged, tmp_path)
    for table in (HELD_OUT / "scores.parquet", EVALUATION / "scored.parquet"):
        assert pd.read_parquet(tmp_path / table)[JUDGE].dropna().tolist() == pytest.approx([40.0, 40.0])
    failed, refused = "request failed: HTTP 400: no, [key] said so", "refusal"
    expected = [(where, why) for where in ("prompted", "steered") for why in (refused, refused, failed, failed)]
    assert reasons(tmp_path) == sorted(expected)
    provenance = json.loads((tmp_path / "provenance_persona.json").read_text())
    assert provenance["api"]["failed"] > 0
    assert server.base_url in provenance["judges"][JUDGE]
    assert "probabilities of integers" in provenance["judges"][JUDGE]
    assert server.authorizations == {f"Bearer {KEY}"}
    assert [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_a_run_whose_server_went_down_goes_on_and_asks_nothing_twice(
    judged: RunConfig, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the key is refused half-way, then the run is killed after everything was rated."""
    asked: list[str] = []

    def until_the_fifth(body: dict[str, Any], _before: int) -> Sent:
        if len(server.bodies) > 4:
            return failure(401)
        asked.append(body["messages"][-1]["content"])
        return number(70)

    server.behaviour = until_the_fifth
    with pytest.raises(EndpointError, match="refuses the key"):
        run_main_job(judged, tmp_path)
    server.bodies.clear()
    server.behaviour = lambda *_: number(70)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("persona_interp.studies.persona.run._tables", interrupt)
        run_main_job(judged, tmp_path)
    again = [body["messages"][-1]["content"] for body in server.bodies]
    assert asked and again and not set(asked) & set(again)
    server.bodies.clear()
    run_main_job(judged, tmp_path)
    assert server.bodies == [] and not (tmp_path / "tables" / "unscored.csv").exists()
    provenance = json.loads((tmp_path / "provenance_persona.json").read_text())
    assert provenance["api"]["requests"] == len(asked) + len(again)
    assert provenance["api"]["prompt_tokens"] == 10 * provenance["api"]["requests"]
    assert "probabilities of integers" in provenance["judges"][JUDGE]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def api_usage(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance_persona.json").read_text())["api"]


def scores(folder: Path) -> list[pd.DataFrame]:
    return [pd.read_parquet(folder / table) for table in (HELD_OUT / "scores.parquet", EVALUATION / "scored.parquet")]


def test_requests_that_failed_are_repeated_by_the_same_command_and_nothing_else_is(
    judged: RunConfig,
    server: FaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They fail again; then they succeed, and the run is killed before they are off the list; then it is whole."""
    priced = replace(judged, api_price=(3.0, 7.0))
    run_main_job(priced, tmp_path)
    first, usage, listed = scores(tmp_path), api_usage(tmp_path), reasons(tmp_path)
    run_main_job(priced, tmp_path)
    for before, after in zip(first, scores(tmp_path), strict=True):
        pd.testing.assert_frame_equal(after, before)
    told = [record.getMessage() for record in caplog.records if "all failed again" in record.getMessage()]
    assert len(told) == 2 and all(
        f"failed requests were retried, all failed again: {JUDGE} rated none of" in one for one in told
    )
    assert reasons(tmp_path) == listed
    judges = json.loads((tmp_path / "provenance_persona.json").read_text())["judges"]
    assert "probabilities of integers" in judges[JUDGE]  # by which the first command read them
    assert api_usage(tmp_path)["failed"] == 2 * usage["failed"]

    server.bodies.clear()
    server.behaviour = lambda *_: number(90)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("persona_interp.studies.persona.kept._keep_unscored", interrupt)
        run_main_job(priced, tmp_path)
    run_main_job(priced, tmp_path)
    repeated = [body["messages"][-1]["content"] for body in server.bodies]
    assert repeated and all("What is milk?" in asked for asked in repeated)
    assert len(repeated) == len(set(repeated)) == usage["failed"]
    for before, after in zip(first, scores(tmp_path), strict=True):
        pd.testing.assert_frame_equal(after.drop(columns=JUDGE), before.drop(columns=JUDGE))
        filled = after.loc[before[JUDGE].isna() & after[JUDGE].notna(), JUDGE]
        assert filled.tolist() == pytest.approx([50.0, 50.0])
        assert after[JUDGE].dropna().sort_values().tolist() == pytest.approx([40.0, 40.0, 50.0, 50.0])
    assert [why for _, why in reasons(tmp_path)] == ["refusal"] * 4
    spent = api_usage(tmp_path)
    assert spent["requests"] == usage["requests"] + 2 * usage["failed"]
    assert spent["prompt_tokens"] == 10 * (spent["requests"] - spent["failed"])
    assert spent["cost"] == pytest.approx((spent["prompt_tokens"] * 3 + spent["completion_tokens"] * 7) / 1e6)

    server.bodies.clear()
    run_main_job(priced, tmp_path)
    assert server.bodies == [] and api_usage(tmp_path) == spent


def test_what_a_run_kept_of_its_judge_must_be_a_count(judged: RunConfig, server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "api_judge.json").write_text('{"usage": {"requests": 1, "colour": 2}}')
    with pytest.raises(ArtefactError) as caught:
        run_main_job(judged, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'api_judge.json'} has no description.\n  Expected a text; it has usage.\n"
        "  Delete it: the count starts again."
    )
    assert server.bodies == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--api-price", "0.4,1.6"), "api_price is the price of an api_judge, and none is named."),
        (("--api-judge", "m", "--api-price", "-1,2"), "api_price[0] must be 0 to 1000000, got -1.0."),
        (
            ("--api-judge", "m", "--api-price", "0.4"),
            "api-price must be two prices, of prompt and completion tokens, got",
        ),
        (("--api-judge", "m", "--api-price", "dear"), "--api-price must be numbers, joined by commas, got 'dear'."),
    ],
)
def test_prices_that_cannot_be_used(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", "--out", str(tmp_path / "out"), *options])
    assert isinstance(done.exception, ConfigError) and words in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_the_price_of_the_command_line_reaches_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunConfig] = []
    monkeypatch.setattr("persona_interp.studies.persona.run.run_main_job", lambda config, *_: seen.append(config))
    CliRunner().invoke(app, ["run", "--out", str(tmp_path), "--api-judge", "m", "--api-price", "0.4,1.6"])
    CliRunner().invoke(app, ["run", "--out", str(tmp_path), "--api-judge", "m"])
    assert [config.api_price for config in seen] == [(0.4, 1.6), None]
    assert seen[0].to_dict()["api_price"] == [0.4, 1.6]


def test_a_judge_that_never_gives_a_number_ends_the_run_and_says_why(
    judged: RunConfig, server: FaultServer, tmp_path: Path
) -> None:
    """As a model does that spends its few tokens on reasoning: it is found out before anything is paid for."""
    server.behaviour = lambda *_: completion("", finish="length")
    with pytest.raises(EndpointError, match=r"cannot rate: asked for a number, it was cut off\.\n.*reasoning_tokens"):
        run_main_job(judged, tmp_path)
