"""The answers of a run that people may rate, with the scores of every judge, as the run's folder keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from persona_interp.errors import ArtefactError
from persona_interp.files import is_file
from persona_interp.io import read_record, sha256_json
from persona_interp.judges.consensus import CONSENSUS, Standard
from persona_interp.rollouts.parts import PartStore
from persona_interp.studies.persona.results import load_summary
from persona_interp.studies.persona.rows import STUDY
from persona_interp.tables import read_table

UNSTEERED, UP, DOWN = "unsteered", "steered up", "steered down"
POSITIVE, NEGATIVE = "positive prompt", "negative prompt"
KINDS = (UNSTEERED, UP, DOWN, POSITIVE, NEGATIVE)
"""How an answer came about, which no rater is told."""
_PLACE = ["kind", "part", "row", "question", "answer"]
_RERUN = "Run the main job again into this folder, or take a folder that is whole."


@dataclass(frozen=True, eq=False)
class RatedRun:
    """A run with its answers.

    Args:
        answers: by trait: kind, part, row (of that part of the folder), question, answer, and a column a judge, that of
            the consensus among them where there is one; NaN where a judge was not asked or could not tell.
        heads: by trait, the judges that make the consensus.
        identity: a hash of all that the run's numbers depend on.
    """

    folder: Path
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    answers: Mapping[str, DataFrame]
    heads: Mapping[str, tuple[str, ...]]
    identity: str

    def judges(self, trait: str) -> list[str]:
        """The consensus first, then every judge that rated answers of a trait."""
        found = [str(name) for name in self.answers[trait].columns if name not in _PLACE]
        return sorted(found, key=lambda name: name != CONSENSUS)


def rated_run(folder: Path) -> RatedRun:
    """The answers of a run, read from its folder.

    Steered answers are those at the layer chosen for the trait, at every strength. Answers to system prompts that the
    likelihood judges compare with are left out where there are others: to those, an answer is likelier under its own
    prompt whatever it says.

    Raises:
        ArtefactError: it is no folder of `persona-interp run`, or what is needed is missing or damaged.
    """
    for name in ("config.json", "summary.json", f"identity_{STUDY}.json"):
        if not is_file(folder / name):
            raise ArtefactError(
                f"{folder} is not the folder of a finished run: it has no {name}.",
                "Expected the --out of `persona-interp run`.",
            )
    config = read_record(folder / "config.json")
    provenance = read_record(folder / f"provenance_{STUDY}.json")
    judges = [name for name in provenance.get("judges", {}) if name != "coherence"]
    answers, heads = {}, {}
    for row in load_summary(folder):
        heads[row.trait] = tuple(row.judges_shown or ())
        steered = _steered(folder, row.trait, row.chosen_layer)
        both = [steered, _prompted(folder, row.trait, int(config.get("n_judge_pairs", 1)))]
        table = pd.concat([part.reindex(columns=[*_PLACE, *judges]) for part in both], ignore_index=True)
        if shown := heads[row.trait]:
            plain = table[table["kind"] == UNSTEERED]
            table[CONSENSUS] = Standard.of(plain, shown).consensus(table)
        kept = [name for name in (CONSENSUS, *judges) if name in table and table[name].notna().any()]
        answers[row.trait] = table[[*_PLACE, *kept]]
    identity = sha256_json(read_record(folder / f"identity_{STUDY}.json"))
    return RatedRun(folder, config, provenance, answers, heads, identity)


def _steered(folder: Path, trait: str, layer: int | None) -> DataFrame:
    """Unsteered answers to the evaluation questions, and those steered at a layer."""
    path = folder / "steering" / trait / "evaluation" / "scored.parquet"
    if not is_file(path):
        raise ArtefactError(f"{path} does not exist: the folder keeps no answers of {trait}.", _RERUN)
    table = read_table(path)
    sign = table["coefficient"].to_numpy(float)
    kind = pd.Series(UNSTEERED, index=table.index).where(sign == 0, None).mask(sign > 0, UP).mask(sign < 0, DOWN)
    here = (sign == 0) | (table["layer"] == layer).fillna(False).to_numpy(bool)
    return table.assign(kind=kind, part="steered", row=range(len(table)))[here]


def _prompted(folder: Path, trait: str, n_read: int) -> DataFrame:
    """Held-out answers to positive and negative system prompts."""
    home = folder / "rollouts" / trait / "held_out"
    if not is_file(home / "scores.parquet"):
        raise ArtefactError(f"{home} keeps no scored answers to system prompts.", _RERUN)
    rows, scores = PartStore(home, ()).frame(), read_table(home / "scores.parquet")
    if len(rows) != len(scores):
        raise ArtefactError(f"{home} keeps {len(rows)} answers and {len(scores)} scores.", _RERUN)
    table = rows[["question", "answer"]].join(scores)
    table = table.assign(kind=rows["side"] + " prompt", part="held out", row=range(len(rows)))
    unread = rows["instruction"] >= n_read
    return table[unread] if unread.any() else table
