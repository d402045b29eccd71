"""The main job with its API judge as users run it: the real client and cache, over HTTP, against a server that fails."""

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.errors import EndpointError
from persona_interp.judges.rubric import PROBE
from persona_interp.main_job.config import RunConfig
from persona_interp.main_job.run import run_main_job
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
    """Figures are left out: they take most of the time of so small a run."""
    monkeypatch.setattr("persona_interp.report.write_report", lambda folder: folder / "report.html")
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
    for part, n in ((HELD_OUT, 2), (EVALUATION, 2)):
        table = pd.read_parquet(tmp_path / part / "scores.parquet" if part is HELD_OUT else tmp_path / part / "scored.parquet")
        assert table[JUDGE].dropna().tolist() == pytest.approx([40.0] * n)
        assert set(table.loc[table[JUDGE].notna(), "question"]) == {"How is snow?"} if "question" in table else True
    failed = "request failed: HTTP 400: no, [key] said so"
    both = [(failed, 2), ("refusal", 2)]
    assert reasons(tmp_path) == sorted((c, r) for c in ("prompted", "steered") for r, n in both for _ in range(n))
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["api"]["failed"] > 0
    assert server.base_url in provenance["judges"][JUDGE]
    assert "probabilities of integers" in provenance["judges"][JUDGE]
    assert server.authorizations == {f"Bearer {KEY}"}
    assert [p for p in tmp_path.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()] == []
