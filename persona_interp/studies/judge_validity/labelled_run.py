"""Judges tried on answers that people labelled: their scores kept, effects, claims and provenance in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from persona_interp.arguments import checked
from persona_interp.bounds import Seed, Some
from persona_interp.data.labelled import Labelled
from persona_interp.data.traits import Trait
from persona_interp.effects import Source, run_id_of, write_runs
from persona_interp.errors import ConfigError, TraitError
from persona_interp.identity import of_judges, of_package
from persona_interp.io import write_json
from persona_interp.judges.protocol import Judge
from persona_interp.lock import alone_in
from persona_interp.models.identity import library_versions
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.judge_validity.effects import STUDY, model_of
from persona_interp.studies.judge_validity.labelled import Found, found_of, scores_table
from persona_interp.studies.judge_validity.labelled_effects import labelled_effects
from persona_interp.tables import Form, numbers, texts

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""
SCORES = Form("judge_scores", (*texts("judge group", filled=True), *numbers("label score")))
KEEPS = (f"cells/{STUDY}/*", "tables/judge_scores.csv")
Rows = list[dict[str, Any]]


@checked
@alone_in("out")
def measure_judges(judges: Some[Judge], trait: Trait, data: Labelled, *, out: Path, seed: Seed = 0) -> DataFrame:
    """How valid judges are on labelled answers, a row a judge; kept in a folder as effects and claims.

    Of labels with two values: the AUC. Of graded ones: Spearman's rho. Both with intervals over groups, which hold the
    labels and the judge fixed, and p, corrected over judges. Calibration: the slope of the label on the score (1 where
    a score of 70 is a chance, or a label, of 70), the mean score minus the mean label, and a table of reliability. The
    scores are kept as they are made, so the same call goes on where it was stopped.

    Returns:
        judge, n, n_rated, orders (AUC or rho) with low and high, p, slope and bias with theirs, and why a judge is
        unable, in which case the rest is missing.

    Raises:
        ConfigError: two judges have one name, or the folder holds other judges or data.
        TraitError: no judge can rate the trait; why is said of each.
    """
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise ConfigError(f"two judges have one name: {', '.join(names)}.", "Give each once.")
    unable = {judge.name: why for judge in judges if (why := judge.unable(trait)) is not None}
    if len(unable) == len(judges):
        said = "; ".join(f"{name}: {why}" for name, why in unable.items())
        raise TraitError(f"no judge can rate {trait.name}: {said}.", "Choose other judges.")
    identity = {
        "trait": trait.name,
        "contents of the trait": trait.data_hash,
        "labelled answers": data.data_hash,
        "file": data.source,
        "seed": seed,
        "judges": of_judges(judges),
        **of_package(METHOD_VERSION),
    }
    home = RunFolder.claim(out, STUDY, identity, keeps=KEEPS)
    tables, found = [], []
    for judge in judges:
        if judge.name in unable:
            found.append(Found(judge.name, len(data), unable[judge.name]))
            continue
        table = home.cell(_place(judge), judge.name, lambda judge=judge: _rated(judge, trait, data))
        tables.append(table)
        found.append(found_of(judge.name, data, table["score"].to_numpy(float), seed=seed))
    home.save(SCORES, pd.concat(tables, ignore_index=True))
    _finish(home, judges, trait, data, found, seed)
    return DataFrame(_rows(found))


def _rated(judge: Judge, trait: Trait, data: Labelled) -> DataFrame:
    rated = judge.rate(trait, data.questions, data.answers)
    return scores_table(data, [score.value for score in rated], judge.name)


def _place(judge: Judge) -> str:
    """The kind of a judge, as part of a file's name."""
    return judge.name.partition(" ")[0]


def _finish(
    home: RunFolder, judges: Sequence[Judge], trait: Trait, data: Labelled, found: Sequence[Found], seed: int
) -> None:
    effects, claims = labelled_effects(trait.name, data, found)
    runs = []
    for model in dict.fromkeys(model_of(one.judge) for one in found):
        source = Source(STUDY, run_id_of([home.identity, model]), model, seed=seed)
        of_model = [effect for effect in effects if model_of(str(effect.judge)) == model]
        runs.append((source, of_model, [one for one in claims if model_of(str(one.effects[0].judge)) == model]))
    write_json(
        home.path / f"provenance_{STUDY}.json",
        {
            **home.identity,
            "n": len(data),
            "rows left out, without a label or an answer": data.n_left_out,
            "labels": f"{data.labels.min():g} to {data.labels.max():g}"
            if data.graded
            else "with and without the trait",
            "descriptions": {judge.name: judge.description for judge in judges},
            "versions": library_versions(),
        },
    )
    write_runs(home.path, STUDY, runs)


def _rows(found: Sequence[Found]) -> Rows:
    rows: Rows = []
    for one in found:
        row: dict[str, Any] = {"judge": one.judge, "n": one.n, "n_rated": one.n_rated}
        for name, size in (("orders", one.orders), ("slope", one.slope), ("bias", one.bias)):
            ends = (np.nan,) * 3 if size is None else (size.estimate, size.low, size.high)
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        rows.append(row | {"p": one.p, "unable": one.unable})
    return rows
