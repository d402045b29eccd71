"""`screen_pairs`: preference pairs on persona directions: what the chosen answers have more of than the rejected."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Size, Some
from persona_interp.data.preferences import Pair
from persona_interp.data.streams import source_hash
from persona_interp.directions.direction import Direction, check_direction
from persona_interp.effects import q_of
from persona_interp.errors import ConfigError
from persona_interp.io import atomic_write_bytes, write_json
from persona_interp.lock import alone_in
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.identity import library_versions
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.screening.config import Channel, Engine, ScreenConfig, check_engine
from persona_interp.studies.screening.forms import PAIR_SUMMARY, PAIR_TEXTS, PAIRS, UNUSABLE
from persona_interp.studies.screening.local_engine import screen_here
from persona_interp.studies.screening.pair_effects import pair_claims, pair_effects
from persona_interp.studies.screening.pair_summary import pair_summary, pair_table
from persona_interp.studies.screening.pairs import TOKENS, PairScreener
from persona_interp.studies.screening.store import Shards, claim_folder
from persona_interp.studies.screening.summary import unusable, usable
from persona_interp.tables import read_table, write_table
from persona_interp.types import default_layer

_IDENTITY = {"rows": "preference pairs", "pair_method_version": 1}
_FIRST = ("row", "name", "reason", "prompt", *TOKENS)


@dataclass(frozen=True, eq=False)
class PairResult:
    """What a screening of preference pairs found, and the folder that holds all of it.

    Args:
        summary: one row a direction and layer.
        n_prompts: different prompts of the usable pairs: pairs of one prompt are one cluster.
    """

    folder: Path
    source: str
    summary: pd.DataFrame
    channels: tuple[Channel, ...]
    n_rows: int
    n_unusable: int
    n_prompts: int

    def pairs(self) -> pd.DataFrame:
        """All usable pairs, largest difference first, direction by direction and layer by layer."""
        return read_table(self.folder / "pairs.parquet", PAIRS)


@checked
@alone_in("out")
def screen_pairs(
    model: HookedModelBase,
    source: str,
    directions: Some[Direction],
    *,
    out: Path,
    layers: Sequence[int] | None = None,
    n_shown: CountOrNone = 50,
    batch_rows: Size = 64,
    engine: Engine = "local",
    ray_address: str | None = None,
    n_workers: Count | None = None,
    progress: bool = True,
) -> PairResult:
    """Mean projection of the chosen answer minus that of the rejected one, a pair, direction and layer.

    Larger means that the choice teaches more of a direction's positive pole, in residual units. An interrupted
    screening goes on after its last whole shard.

    Args:
        source: preference data in any form that `stream_rows` reads; the forms of a pair are in `data/preferences`.
        layers: 0-based blocks; default: the one nearest to depth 0.6.
        n_shown: pairs a direction and layer that are kept with their text, at most.
        n_workers: of Ray; default: one a GPU of the cluster, or one a CPU where there is no GPU.

    Raises:
        ConfigError: an option cannot be used, or the folder holds another screening.
        EmptySelectionError: no pair can be scored.
        HookpointError: the model, or a direction, has no such layer.
        IncompatibleDirectionError: a direction belongs to another model.
        MissingPackageError: the engine's package is not installed.
    """
    check_engine(engine)
    if n_shown < 1:
        raise ConfigError(f"n_shown must be at least 1, got {n_shown}.")
    layers = (default_layer(model.n_layers),) if layers is None else tuple(layers)
    for direction in directions:
        check_direction(direction, model)
        for layer in layers:
            direction.at(layer)
    screener = PairScreener.make(model, directions, ScreenConfig(layers, "none", batch_rows))
    channels = screener.channels
    home = claim_folder(out, screener, source_hash=source_hash(source), more=_IDENTITY)
    if engine == "ray":
        from persona_interp.studies.screening.ray_engine import screen_on_ray

        parts = [(source, Shards(out))]
        screen_on_ray(screener, parts, address=ray_address, n_workers=n_workers, progress=progress)
    screen_here(screener, source, Shards(out), progress=progress)  # after Ray every shard exists
    everything = Shards(out).read([*_FIRST, *screener.columns])
    table, refused = usable(everything), unusable(everything)
    write_table(out / "unusable.csv", refused.to_pandas(), UNUSABLE)
    rankings = {channel: pair_table(table, channel) for channel in channels}
    write_table(out / "pairs.parquet", pd.concat(rankings.values(), ignore_index=True), PAIRS)
    _write_texts(screener, source, rankings, n_shown, out)
    summary = pair_summary(table, channels)
    write_table(out / "pair_summary.csv", summary, PAIR_SUMMARY)
    n_prompts = len(set(table["prompt"].to_pylist()))
    result = PairResult(out, source, summary, channels, len(everything), len(refused), n_prompts)
    _finish(screener, replace(home, identity={"shards": home.identity}), result, table)
    return result


def _write_texts(
    screener: PairScreener, source: str, rankings: Mapping[Channel, pd.DataFrame], n_shown: int, out: Path
) -> None:
    """The first pairs of every ranking with their text, as JSON lines (preference data again) and as CSV."""
    first = pd.concat([ranking.head(n_shown) for ranking in rankings.values()], ignore_index=True)
    texts = _texts(screener, source, set(first["row"]))
    lines, rows = [], []
    for row in first.to_dict("records"):
        pair = texts[row["row"]]
        place = {name: row[name] for name in ("direction", "layer", "rank", "row", "name", "difference")}
        answers = {"chosen": pair.chosen.answer, "rejected": pair.rejected.answer}
        question = next((turn.content for turn in reversed(pair.prompt) if turn.role == "user"), "")
        rows.append(place | {"question": question} | answers)
        prompt = [{"role": turn.role, "content": turn.content} for turn in pair.prompt]
        lines.append(json.dumps(place | {"prompt": prompt} | answers, ensure_ascii=False) + "\n")
    atomic_write_bytes(out / "pair_texts.jsonl", "".join(lines).encode())
    write_table(out / "pair_texts.csv", pd.DataFrame(rows, columns=PAIR_TEXTS.names), PAIR_TEXTS)


def _texts(screener: PairScreener, source: str, wanted: set[int]) -> dict[int, Pair]:
    found: dict[int, Pair] = {}
    for _, rows in screener.batches(source, start=min(wanted) // screener.config.batch_rows):
        found |= {number: row for number, row in rows if number in wanted and isinstance(row, Pair)}
        if len(found) == len(wanted):
            break
    assert len(found) == len(wanted), "the rows that were scored are still there: the source has the hash of its folder"
    return found


def _finish(screener: PairScreener, home: RunFolder, result: PairResult, table: pa.Table) -> None:
    """The summary in one file, effects and claims, and what they are made from."""
    write_json(
        result.folder / "screening.json",
        {
            "source": result.source,
            "rows": _IDENTITY["rows"],
            "n_rows": result.n_rows,
            "n_unusable": result.n_unusable,
            "n_prompts": result.n_prompts,
            **{name: sum(table[name].to_pylist()) for name in TOKENS},
            "pairs": result.summary.astype(object).where(result.summary.notna(), None).to_dict("records"),
        },
    )
    effects = pair_effects(result.summary, result.channels, screener.directions, result.source)
    claims = pair_claims(effects, q_of(effects), result.channels, screener.directions)
    provenance = {
        "source": result.source,
        "rows": _IDENTITY["rows"],
        "model": screener.model.provenance.to_dict(),
        "vectors": [direction.provenance.to_dict() for direction in screener.directions],
        "versions": {**library_versions(), "pyarrow": pa.__version__},
    }
    home.finish(screener.model, provenance, effects, claims, seed=None)
