"""What a screening found: written beside its shards, and read back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from persona_interp.io import write_json
from persona_interp.studies.screening.batch import Screener
from persona_interp.studies.screening.config import Channel, Score
from persona_interp.studies.screening.flagged import explain, flagged_rows, write_flagged
from persona_interp.studies.screening.store import Shards, write_parquet
from persona_interp.studies.screening.summary import rank, summarise, unusable, usable
from persona_interp.tables import read_table, write_table

TOKENS = ("n_prompt_tokens", "n_answer_tokens")
_FIRST = ("row", "name", "reason", *TOKENS)


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
    thresholds: Mapping[Channel, float]


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
        return read_table(self.folder / "ranking.parquet")


def read_samples(folder: Path) -> pd.DataFrame:
    """All rows of a screening with all their scores, in the order of the data set.

    Raises:
        ArtefactError: the folder holds no shard, or a damaged one.
    """
    return Shards(folder).read(None).to_pandas()


def write_result(
    screener: Screener, shards: Shards, source: str, *, score: Score, clean: Clean | None, n_flagged: int
) -> ScreenResult:
    """Summary, ranking, unusable rows and flagged samples, from the shards.

    Raises:
        EmptySelectionError: no row could be scored.
    """
    everything, folder = shards.read([*_FIRST, *screener.columns]), shards.folder
    refused, table = unusable(everything), usable(everything)
    write_table(folder / "unusable.csv", refused.to_pandas())
    thresholds = {} if clean is None else clean.thresholds
    rankings = {channel: rank(table, channel, score, thresholds.get(channel)) for channel in screener.channels}
    write_parquet(folder / "ranking.parquet", pa.concat_tables(rankings.values()).unify_dictionaries())
    chosen = {channel: flagged_rows(ranking, n_flagged) for channel, ranking in rankings.items()}
    flagged = explain(screener, source, table, chosen)
    write_flagged(folder, flagged)
    result = ScreenResult(
        folder=folder,
        source=source,
        summary=summarise(table, screener.channels, screener.config, score=score, thresholds=thresholds),
        score=score,
        channels=screener.channels,
        clean=clean,
        n_rows=len(everything),
        n_unusable=len(refused),
        n_flagged=len(flagged),
    )
    _write_summary(result, table)
    return result


def _write_summary(result: ScreenResult, table: pa.Table) -> None:
    folder, clean = result.folder, result.clean
    write_table(folder / "summary.csv", result.summary)
    write_json(
        folder / "summary.json",
        {
            "source": result.source,
            "n_rows": result.n_rows,
            "n_unusable": result.n_unusable,
            "n_usable": len(table),
            **{name: sum(table[name].to_pylist()) for name in TOKENS},
            "ranked_by": result.score,
            "n_flagged": result.n_flagged,
            "clean": None
            if clean is None
            else {
                "source": clean.source,
                "percentile": clean.percentile,
                "n": clean.n,
                "n_unusable": clean.n_unusable,
            },
            "scores": result.summary.astype(object).where(result.summary.notna(), None).to_dict("records"),
        },
    )
