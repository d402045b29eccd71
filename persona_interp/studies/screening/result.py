"""What a screening found: written beside its shards, and read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from persona_interp.data.traits import Trait
from persona_interp.effects import q_of
from persona_interp.io import write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.measurements.judge_validity import known_validity
from persona_interp.models.identity import library_versions
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.screening.batch import Screener
from persona_interp.studies.screening.config import Channel, Score
from persona_interp.studies.screening.effects import Limit, Screened, screening_claims, screening_effects
from persona_interp.studies.screening.flagged import explain, flagged_rows, write_flagged
from persona_interp.studies.screening.forms import RANKING, SUMMARY, UNUSABLE
from persona_interp.studies.screening.store import Shards
from persona_interp.studies.screening.summary import rank, summarise, unusable, usable
from persona_interp.tables import read_table, write_table

TOKENS = ("n_prompt_tokens", "n_answer_tokens")
_FIRST = ("row", "name", "reason", *TOKENS)
_CLEAN = ("source", "percentile", "n", "n_unusable")


@dataclass(frozen=True)
class Clean:
    """What the thresholds were set on: the usable samples of a data set of wanted behaviour.

    Args:
        percentile: of each threshold, 100 less the percentage of new clean samples that pass it, at most.
        any_rate: share of new clean samples that pass any of the thresholds, at most.
    """

    source: str
    percentile: float
    any_rate: float
    n: int
    n_unusable: int
    limits: Mapping[Channel, Limit]

    @property
    def thresholds(self) -> dict[Channel, float]:
        """The score of every limit."""
        return {channel: limit.value for channel, limit in self.limits.items()}


@dataclass(frozen=True, eq=False)
class ScreenResult:
    """What a screening found, and the folder that holds all of it.

    Args:
        summary: one row a direction, layer and score.
        score: what samples are ranked and flagged by.
        clean: None where no clean data set was given: there is no threshold then, and samples are only ranked.
        n_flagged: entries of flagged.jsonl.
    """

    folder: Path
    source: str
    summary: pd.DataFrame
    score: Score
    channels: tuple[Channel, ...]
    clean: Clean | None
    n_rows: int
    n_unusable: int
    n_flagged: int

    def samples(self) -> pd.DataFrame:
        """All rows with all their scores, in the order of the data set."""
        return read_samples(self.folder)

    def ranking(self) -> pd.DataFrame:
        """All usable samples, largest score first, direction by direction."""
        return read_table(self.folder / "ranking.parquet", RANKING)


def read_samples(folder: Path) -> pd.DataFrame:
    """All rows of a screening with all their scores, in the order of the data set.

    Raises:
        ArtefactError: the folder holds no shard, or a damaged one.
    """
    return Shards(folder).read(None).to_pandas()


def write_result(
    screener: Screener, home: RunFolder, source: str, *, score: Score, clean: Clean | None, n_flagged: int
) -> ScreenResult:
    """Summary, ranking, unusable rows, flagged samples, effects and claims, from the shards of a folder.

    Args:
        home: with all that the effects depend on as its identity.

    Raises:
        EmptySelectionError: no row could be scored.
    """
    folder = home.path
    everything = Shards(folder).read([*_FIRST, *screener.columns])
    refused, table = unusable(everything), usable(everything)
    write_table(folder / "unusable.csv", refused.to_pandas(), UNUSABLE)
    thresholds = {} if clean is None else clean.thresholds
    rankings = {channel: rank(table, channel, score, thresholds.get(channel)) for channel in screener.channels}
    write_table(folder / "ranking.parquet", pd.concat(rankings.values(), ignore_index=True), RANKING)
    chosen = {channel: flagged_rows(ranking, n_flagged) for channel, ranking in rankings.items()}
    flagged = explain(screener, source, table, chosen)
    write_flagged(folder, flagged, screener.config.scores)
    summary = summarise(table, screener.channels, screener.config, score=score, thresholds=thresholds)
    result = ScreenResult(
        folder=folder,
        source=source,
        summary=SUMMARY.checked(summary),
        score=score,
        channels=screener.channels,
        clean=clean,
        n_rows=len(everything),
        n_unusable=len(refused),
        n_flagged=len(flagged),
    )
    _write_summary(result, table)
    _finish(screener, home, result)
    return result


def _finish(screener: Screener, home: RunFolder, result: ScreenResult) -> None:
    """Effects and claims of the summary, and what they are made from."""
    clean = result.clean
    of = Screened(
        source=result.source,
        channels=result.channels,
        directions=screener.directions,
        config=screener.config,
        score=result.score,
        clean=None if clean is None else clean.source,
        limits=None if clean is None else clean.limits,
    )
    known = {} if screener.judge is None else _validity(screener.judge, screener.traits, result.folder)
    effects = [effect.judged_by(known) for effect in screening_effects(result.summary, of)]
    provenance = {
        "source": result.source,
        "clean": of.clean,
        "model": screener.model.provenance.to_dict(),
        "vectors": [direction.provenance.to_dict() for direction in screener.directions],
        "versions": {**library_versions(), "pyarrow": pa.__version__},
    }
    home.finish(screener.model, provenance, effects, screening_claims(effects, q_of(effects), of), seed=None)


def _validity(judge: EmbeddingJudge, traits: Sequence[Trait | None], folder: Path) -> dict[str, dict[str, float]]:
    """Trait -> the judge, by the name it has in this study -> AUC."""
    judged = {trait.name: trait for trait in traits if trait is not None}
    known = known_validity([judge], list(judged.values()), folder)
    return {name: {"embedding": found[judge.name]} for name, found in known.items() if judge.name in found}


def _write_summary(result: ScreenResult, table: pa.Table) -> None:
    folder, clean = result.folder, result.clean
    write_table(folder / "summary.csv", result.summary, SUMMARY)
    write_json(
        folder / "screening.json",
        {
            "source": result.source,
            "n_rows": result.n_rows,
            "n_unusable": result.n_unusable,
            "n_usable": len(table),
            **{name: sum(table[name].to_pylist()) for name in TOKENS},
            "ranked_by": result.score,
            "n_flagged": result.n_flagged,
            "clean": None if clean is None else {name: getattr(clean, name) for name in _CLEAN},
            "scores": result.summary.astype(object).where(result.summary.notna(), None).to_dict("records"),
        },
    )
