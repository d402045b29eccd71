"""The one table of effects and the one of claims: what every study found, in the same columns, for any number of runs.

`effects.parquet` has a row for each number that carries a claim. What was not saved stays missing: no cell is filled so
that a row looks comparable. Where two studies mean different things by a null or a reference, the words differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.errors import AlignmentError, ArtefactError
from persona_interp.io import sha256_json
from persona_interp.lock import locked
from persona_interp.statistics.families import NO_TEST, claim_q
from persona_interp.statistics.levels import ALPHA
from persona_interp.tables import Column, Form, numbers, read_table, texts, wholes, write_table
from persona_interp.types import depth_of

Number = int | float
Role = Literal["treatment", "control", "null"]
Substrate = Literal["residual", "latent", "neuron", "head", "virtual_token", "prompt", "weights"]
Verdict = Literal["holds", "does not", "undecided"]

EFFECTS_FILE, CLAIMS_FILE = "effects.parquet", "claims.parquet"
ROLES: tuple[Role, ...] = ("treatment", "control", "null")
SUBSTRATES: tuple[Substrate, ...] = ("residual", "latent", "neuron", "head", "virtual_token", "prompt", "weights")
VERDICTS: tuple[Verdict, ...] = ("holds", "does not", "undecided")

SOURCE = ("study", "run_id", "model", "backend", "dtype")
_HOW = ("role", "strength", "strength_unit", "metric", "reference", "test", "null_kind", "family", "judge")
_PLACE = ("layers", "strength")
WHAT = ("trait", "method", "substrate", "layers", "stream", "pooling", "condition", "data")
EFFECTS = Form(
    "effects",
    (
        Column("effect_id", "text", filled=True),
        Column("study", "text", filled=True),
        Column("run_id", "text", filled=True),
        *texts("model backend dtype"),
        *wholes("seed"),
        *texts("trait method"),
        Column("substrate", "text", allowed=SUBSTRATES),
        *texts("layers"),
        *numbers("depth", unit="share of the model's blocks"),
        *texts("stream pooling condition data"),
        Column("role", "text", allowed=ROLES, filled=True),
        *numbers("strength"),
        *texts("strength_unit"),
        Column("metric", "text", filled=True),
        *texts("unit reference"),
        *numbers("estimate low high level"),
        *texts("fixed"),
        *wholes("n"),
        *texts("cluster"),
        *wholes("n_cluster"),
        *texts("test null_kind"),
        *numbers("null_low null_high"),
        *wholes("n_null"),
        *numbers("p"),
        *texts("family"),
        *wholes("n_family"),
        *numbers("q"),
        *texts("judge"),
        *numbers("judge_validity"),
    ),
)
"""The columns of `effects.parquet`; see `Effect` for what they hold."""

CLAIMS = Form(
    "claims",
    (
        *(Column(name, "text", filled=True) for name in ("study", "run_id", "claim", "sentence", "rule")),
        *texts("model trait effects"),
        Column("verdict", "text", allowed=VERDICTS, filled=True),
        *numbers("detectable"),
        *texts("unit"),
    ),
)
"""The columns of `claims.parquet`; see `Claim` for what they hold."""

_SAME_CLAIM = ("study", "model", "trait", "method", "substrate", "condition", "data", "metric", "reference")
"""Tests that agree in these are of one claim: they differ in place, strength, judge, seed or run."""


@dataclass(frozen=True)
class Source:
    """Where effects come from.

    Args:
        study: the kind of work, such as "persona" or "styles".
        run_id: a name of the run that no other run has.
    """

    study: str
    run_id: str
    model: str | None = None
    backend: str | None = None
    dtype: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, study: str, identity: Any, model: Mapping[str, Any], seed: int | None) -> "Source":
        """The source of a run.

        Args:
            identity: all that its numbers depend on, as plain data.
            model: its provenance.
        """
        return cls(study, run_id_of(identity), model["model"], model["backend"], model["dtype"], seed)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One number with what it is of, its interval, and its test.

    Args:
        metric: what the number is, such as "AUC" or "change of expression"; `unit` of estimate, low and high.
        layers: 0-based blocks joined by "+": "14", "12+13+14"; `depth` is the mean of (layer + 1) / n_layers over them.
        condition: what was done or compared, in words; `data`: the texts or questions by name.
        role: treatment is what the study is about, control another way to the same end, null what has no effect.
        strength: coefficient of an intervention, in `strength_unit`.
        reference: what the estimate is relative to, in words: "unsteered answers", "chance, 0.5".
        low, high: interval at `level`, over `n_cluster` of `cluster`; `fixed` names what it holds fixed.
        test: how p was found; `null_kind` what stands for no effect, `null_low` and `null_high` its central 95 %
            (one-sided: its 95th percentile is `null_high`), `n_null` draws or arrangements.
        family: the tests that p is corrected with, declared before; q and n_family are made by `corrected`.
        judge: what rated the answers; `judge_validity` its AUC on texts whose trait is known.
        place_found: whether layers and strength were chosen by data, so that they are a finding and no part of what
            the effect is of. It is no column.
    """

    metric: str
    role: Role = "treatment"
    estimate: Number | None = None
    low: Number | None = None
    high: Number | None = None
    level: Number | None = None
    fixed: str | None = None
    n: int | None = None
    cluster: str | None = None
    n_cluster: int | None = None
    unit: str | None = None
    reference: str | None = None
    trait: str | None = None
    method: str | None = None
    substrate: Substrate | None = None
    layers: str | None = None
    depth: Number | None = None
    stream: str | None = None
    pooling: str | None = None
    condition: str | None = None
    data: str | None = None
    strength: Number | None = None
    strength_unit: str | None = None
    test: str | None = None
    null_kind: str | None = None
    null_low: Number | None = None
    null_high: Number | None = None
    n_null: int | None = None
    p: Number | None = None
    family: str | None = None
    judge: str | None = None
    judge_validity: Number | None = None
    place_found: bool = False

    def id_in(self, source: Source) -> str:
        """Sixteen characters that name this effect: what it is of, and nothing of what was found."""
        hidden = _PLACE if self.place_found else ()
        what = [None if name in hidden else getattr(self, name) for name in (*WHAT, *_HOW)]
        return sha256_json([source.study, source.run_id, *what])[:16]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that a run may come to, and what it came to.

    Args:
        claim: its name, such as "separation".
        rule: what must be so for the verdict `holds`; `does not` asks that the interval excludes the claim.
        effects: that it rests on.
        detectable: the least effect that this test finds in 80 % of repetitions, in `unit`.
    """

    claim: str
    trait: str | None
    sentence: str
    rule: str
    effects: Sequence[Effect]
    verdict: Verdict
    detectable: float | None = None
    unit: str | None = None


def verdict(q: float | None, low: float | None, high: float | None) -> Verdict:
    """`holds` where q is at most 0.05 and the interval lies above zero, `does not` where it lies below, or `undecided`.

    The interval is of the claimed quantity minus what it is when the claim is false.
    """
    if high is not None and high < 0:
        return "does not"
    return "holds" if reached(q) and low is not None and low > 0 else "undecided"


def reached(q: float | None) -> bool:
    """Whether there is a q, of 0.05 or less."""
    return q is not None and q <= ALPHA


def family_of(name: str, declared: str) -> str | None:
    """The family of a row of `in_families`; None where no test was possible."""
    return None if declared == NO_TEST else f"{name}, {declared}"


def run_id_of(identity: Any) -> str:
    """A name for a run, from all that its numbers depend on as plain data."""
    return sha256_json(identity)[:12]


def joined(layers: Iterable[int]) -> str:
    """Blocks as the column `layers` has them."""
    return "+".join(map(str, layers))


def layers_of(cell: str) -> tuple[int, ...]:
    """The blocks of a cell of the column `layers`."""
    return tuple(map(int, cell.split("+"))) if cell else ()


def mean_depth(layers: str, n_layers: int) -> float | None:
    """Mean depth of the blocks of a cell, (layer + 1) / n_layers each; None without blocks."""
    blocks = layers_of(layers)
    if not blocks:
        return None
    return sum(depth_of(layer, n_layers) for layer in blocks) / len(blocks)


def effects_table(source: Source, effects: Sequence[Effect]) -> DataFrame:
    """The effects of one run as a table in the form `EFFECTS`, corrected within its families.

    Raises:
        AlignmentError: two effects are of the same thing, or a value has the wrong kind.
    """
    rows = [{"effect_id": effect.id_in(source), **asdict(source), **_plain(effect)} for effect in effects]
    table = DataFrame(rows, columns=EFFECTS.names)
    outside = [
        effect.p for effect in effects if effect.p is not None and not (effect.p != effect.p or 0 <= effect.p <= 1)
    ]
    if outside:
        raise AlignmentError(f"p must be between 0 and 1, got {outside[0]:g}.")
    if len(again := table[table["effect_id"].duplicated()]):
        first = {name: value for name, value in again.iloc[0].items() if isinstance(value, str)}
        raise AlignmentError(
            f"two effects of {source.study} have the same trait, place, metric, test and judge.",
            f"The second: {', '.join(f'{name} {value}' for name, value in first.items() if name in WHAT)}.",
            "Give them different conditions, data or references.",
        )
    return corrected(EFFECTS.checked(table))


def claims_table(source: Source, claims: Sequence[Claim]) -> DataFrame:
    """The claims of one run as a table in the form `CLAIMS`; `effects` are effect_ids joined by spaces."""
    names = [(claim.claim, claim.trait) for claim in claims]
    if twice := [name for name in names if names.count(name) > 1]:
        raise AlignmentError(f"two claims of {source.study} are called {twice[0][0]!r}, both of {twice[0][1]}.")
    rows = [
        {
            "study": source.study,
            "run_id": source.run_id,
            "model": source.model,
            **{name: getattr(claim, name) for name in ("claim", "trait", "rule", "verdict", "unit")},
            "sentence": _writable(claim.sentence),
            "effects": " ".join(effect.id_in(source) for effect in claim.effects),
            "detectable": claim.detectable,
        }
        for claim in claims
    ]
    return CLAIMS.checked(DataFrame(rows, columns=CLAIMS.names))


def corrected(effects: DataFrame) -> DataFrame:
    """The effects with q and n_family over all rows that are here, family by family.

    A family is named by its study and the column `family`; runs of one study are corrected together. Tests of a family
    that differ only in place, strength, judge, seed or run are one claim, and claims are the unit of error (`claim_q`):
    finding the same again under other seeds makes nothing else easier to claim. n_family counts the tests. Rows without
    p or family have neither.
    """
    q_values, sizes = np.full(len(effects), np.nan), np.full(len(effects), np.nan)
    p_values = effects["p"].to_numpy(float)
    tested = ~np.isnan(p_values) & effects["family"].notna().to_numpy()
    claims = effects.groupby(list(_SAME_CLAIM), dropna=False, sort=False).ngroup().to_numpy()
    families = effects.groupby(["study", "family"], dropna=False, sort=False).ngroup().to_numpy()
    for family in np.unique(families[tested]):
        rows = tested & (families == family)
        q_values[rows] = claim_q(p_values[rows], claims[rows])
        sizes[rows] = rows.sum()
    return effects.assign(q=q_values, n_family=pd.array(sizes, dtype="Int64"))


def write_effects(folder: Path, study: str, effects: DataFrame, claims: DataFrame) -> None:
    """Keep a study's effects and claims in a folder, in the place of those that it had there before.

    Those of other studies stay.

    Raises:
        ArtefactError: what other studies wrote there is damaged.
        ConfigError: another process is at work in the folder.
    """
    with locked(folder):
        for name, form, table in ((EFFECTS_FILE, EFFECTS, effects), (CLAIMS_FILE, CLAIMS, claims)):
            path = folder / name
            kept = _read(path, form) if path.is_file() else form.typed(DataFrame(columns=form.names))[0]
            kept = kept[kept["study"] != study]
            write_table(path, pd.concat([kept, table], ignore_index=True) if len(kept) else table, form)


def load_effects(*folders: Path | str) -> DataFrame:
    """The effects of any number of runs in one table, q made anew over all of them (`corrected`).

    So q may differ from that in a run's own tables and sentences, which know of no other run. The columns are those of
    `Effect`, with `effect_id`, the `Source`, q and n_family.

    Args:
        folders: of results, or above them: every effects.parquet in and below each is read. A run that is found twice
            counts once. Columns that an older version did not write are missing.

    Raises:
        ArtefactError: a folder has no effects, or a file is damaged.
        AlignmentError: one effect has different numbers in two places.
    """
    return corrected(_load(folders, EFFECTS_FILE, EFFECTS, ["effect_id"]))


def load_claims(*folders: Path | str) -> DataFrame:
    """The claims of any number of runs, each as its own run came to it; see `load_effects` for the folders."""
    return _load(folders, CLAIMS_FILE, CLAIMS, _CLAIM)


_CLAIM = ["study", "run_id", "claim", "trait"]


def _load(folders: Sequence[Path | str], name: str, form: Form, same: list[str]) -> DataFrame:
    parts = []
    for folder in (Path(each).expanduser() for each in folders):
        found = [folder] if folder.is_file() else sorted(folder.rglob(name))
        if not found:
            raise ArtefactError(
                f"there is no {name} in {folder} or below it.",
                "The commands run, styles, psychadapter measure and inventory write it. In a folder of an earlier"
                " version, run the command again: where nothing else differs, it only adds what is missing.",
            )
        parts += [_read(path, form) for path in found]
    if not parts:
        raise ArtefactError("no folder of results was given.", "Give at least one.")
    table = pd.concat(parts, ignore_index=True)
    once = table.drop(columns=[c for c in ("q", "n_family") if c in table]).drop_duplicates()
    if len(twice := once[once.duplicated(same)]):
        raise AlignmentError(
            f"run {twice['run_id'].iloc[0]} of {twice['study'].iloc[0]} was found twice, with different numbers.",
            "One of the copies was made by another version or altered. Leave one out.",
        )
    return table.loc[once.index].reset_index(drop=True)


def _read(path: Path, form: Form) -> DataFrame:
    """A table of some version: columns that it lacks are missing."""
    frame = read_table(path)
    lacking = [column.name for column in form.columns if not column.filled and column.name not in frame]
    found, problems = form.typed(frame.assign(**dict.fromkeys(lacking)))
    if problems:
        raise ArtefactError(
            f"{path}: {problems[0]}.", "Move it away, and run the commands that wrote into this folder again."
        )
    return found


def _plain(effect: Effect) -> Mapping[str, Any]:
    """The fields of an effect, empty texts as missing, and text that cannot be written as escapes."""
    fields = {name: None if value == "" else _writable(value) for name, value in asdict(effect).items()}
    del fields["place_found"]
    return fields


def _writable(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
