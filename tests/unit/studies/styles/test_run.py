"""A folder of styles goes on with what made it, and with nothing else."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from persona_interp.data.traits import Trait
from persona_interp.errors import ConfigError
from persona_interp.judges.coherence import CoherenceJudge
from persona_interp.judges.protocol import Score
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.styles.arms import StyleSteering
from persona_interp.studies.styles.config import StyleRun
from persona_interp.studies.styles.run import StyleResult, run_styles
from tests.small import WordEncoder
from tests.styles import corpus

RUN = StyleRun(
    StyleSteering(((1,),), (0.5,), n_random=1, max_new_tokens=6),
    styles=("warm",), n_questions=6, n_selection=6, n_null=19, n_resamples=20,
)  # fmt: skip

NO_ROWS = pd.DataFrame()


@pytest.fixture(scope="module", autouse=True)
def no_table() -> Iterator[None]:
    """The table of a few answers says nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("persona_interp.studies.styles.run.style_table", lambda *_, **__: NO_ROWS)
        yield


class Letters:
    """Rates by the number of letters."""

    name = "letters"

    def __init__(self, description: str = "counts letters") -> None:
        self.description = description

    def unable(self, trait: Trait) -> str | None:  # noqa: ARG002
        return None

    def rate(self, trait: Trait, questions: Sequence[str], answers: Sequence[str]) -> list[Score]:  # noqa: ARG002
        return [Score(float(len(text)), 0.0) for text in answers]


def make(
    model: HookedModelBase, folder: Path, run: StyleRun = RUN, judge: Any = None, encoder: str = "words"
) -> StyleResult:
    seen = WordEncoder(["why"])
    seen.name = encoder
    coherence = CoherenceJudge(model, seen, progress=False)
    judges = [Letters() if judge is None else judge]
    return run_styles(model, corpus(), run, judges=judges, coherence=coherence, out=folder, progress=False)


def with_provenance(model: HookedModelBase, **changes: str) -> HookedModelBase:
    """The model, which says something else of itself."""
    other = copy(model)
    other.provenance = replace(model.provenance, **changes)  # pyright: ignore
    return other


@pytest.fixture(scope="module")
def kept(model: HookedModelBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("styles")
    make(model, folder)
    return folder


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_the_same_call_goes_on(model: HookedModelBase, kept: Path) -> None:
    before = {path: time for path, (_, time) in contents(kept).items() if path.name.startswith("part-")}
    assert before
    make(model, kept)
    assert before == {path: contents(kept)[path][1] for path in before}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda m: {"model": with_provenance(m, backend="transformer_lens")}, "model: there {'backend': 'nnsight'}"),
        (lambda m: {"model": with_provenance(m, dtype="bfloat16")}, "model: there {'dtype': 'float32'}"),
        (lambda m: {"model": with_provenance(m, chat_template="abc")}, "model: there {'chat_template': "),
        (lambda m: {"model": with_provenance(m, weights="w2-1")}, "model: there {'weights': "),
        (lambda m: {"model": m, "judge": Letters("counts capitals")}, "judges: there {'letters': 'counts letters'}"),
        (lambda m: {"model": m, "encoder": "other"}, "judges: there {'coherence': "),
        (lambda m: {"model": m, "run": replace(RUN, seed=1)}, "seed: there 0, now 1"),
    ],
)
def test_what_made_it_otherwise_is_refused_by_name(
    model: HookedModelBase, kept: Path, other: Callable[[HookedModelBase], dict[str, Any]], said: str
) -> None:
    before = contents(kept)
    with pytest.raises(ConfigError) as caught:
        make(folder=kept, **other(model))
    lines = str(caught.value).split("\n  ")
    assert len(lines) == 3 and lines[1].startswith(said)
    assert contents(kept) == before


@pytest.mark.parametrize("name", ["METHOD_VERSION", "package"])
def test_another_version_is_refused(
    model: HookedModelBase, kept: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "package":
        monkeypatch.setattr("persona_interp.identity.library_versions", lambda: {"persona-interp": "0.0.0"})
    else:
        monkeypatch.setattr("persona_interp.studies.styles.run.METHOD_VERSION", 0)
    with pytest.raises(ConfigError, match=r"configuration\.\n  (package|method_version): there "):
        make(model, kept)
