"""How well do the judges that need no API tell answers with a trait from answers without it?

Forty-two hand-written hard pairs a trait, made apart from the exemplars that the judges are calibrated on, and used for
nothing but this: subtle, of one topic and length, or with the sentiment against the trait. Reported, for the embedding
judge, word lists, politeness markers and likelihood judges with one prompt pair: AUC with its interval over pairs, p by
exchange within pairs, q over the table; and what the mean of embedding and likelihood judges gains over the best of
them, chosen on other pairs. Every score is kept, so that all can be evaluated again; scores of a trait are made
once.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from kept_results import write_tables

from persona_interp.data.hard_pairs import hard_pairs, pairs_hash
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.effects import write_runs
from persona_interp.identity import of_judges, of_package
from persona_interp.io import write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.politeness import PolitenessJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.studies.folder import RunFolder
from persona_interp.studies.judge_validity.effects import STUDY, judge_runs
from persona_interp.studies.judge_validity.run import consensus_gain, judge_scores, judge_validity

METHOD_VERSION = 2
"""Raised where the same inputs come to give other numbers."""


@dataclass(frozen=True)
class Config:
    """Which judges are tested."""

    models: tuple[str, ...] = ("smollm2-135m-instruct", "gemma-3-270m")
    n_pairs: int = 1
    dtype: str = "auto"


def judges(config: Config) -> dict[str, Judge]:
    """The judges by the name they have in the table."""
    rules: tuple[Judge, ...] = (LexicalJudge(), PolitenessJudge())
    found: dict[str, Judge] = {"embedding (all-MiniLM-L6-v2)": EmbeddingJudge(), **{one.name: one for one in rules}}
    for name in config.models:
        found[f"likelihood ({name})"] = LikelihoodJudge(load_model(name, dtype=config.dtype), n_pairs=config.n_pairs)
    return found


def main() -> None:
    """Measure, and write scores, effects and claims under `analyses/results/judge_validity/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/judge_validity"))
    parser.add_argument("--work", type=Path, default=Path("results/judge_validity"), help="where scores are kept")
    parser.add_argument("--models", default=",".join(Config.models), help="judging models, separated by commas")
    chosen = parser.parse_args()
    config = Config(models=tuple(chosen.models.split(",")))
    high = [name for name in list_traits() if not name.startswith("low_")]  # the low poles have the same pairs
    hard = {name: pairs for name in high if (pairs := hard_pairs(load_trait(name)))}
    tested = judges(config)
    texts = {name: [asdict(pair) for pair in pairs] for name, pairs in hard.items()}
    made_of = {label: of_judges([judge]) for label, judge in tested.items()}
    identity = {"judges": made_of, "pairs": texts, **of_package(METHOD_VERSION)}
    work = RunFolder(chosen.work, STUDY, of_package(METHOD_VERSION))
    cells = []
    for label, judge in tested.items():
        for name in [name for name in hard if judge.unable(load_trait(name)) is None]:
            key = [label, made_of[label], load_trait(name).data_hash, pairs_hash(load_trait(name))]
            cells.append(work.cell(name, key, lambda j=judge, s=label, n=name: judge_scores({s: j}, {n: hard[n]})))
    scores = pd.concat(cells, ignore_index=True)
    several = [label for label in tested if label.startswith(("embedding", "likelihood"))]
    gains, mean_gain = consensus_gain(scores, several)
    table = judge_validity(scores)
    write_tables(chosen.out, {"scores": scores, "consensus_gain": gains})
    write_runs(chosen.out, STUDY, judge_runs(table, identity))
    found = {"consensus of": several, "mean gain over the best": asdict(mean_gain)}
    write_json(chosen.out / "provenance.json", {"config": asdict(config), "versions": library_versions(), **found})
    print(gains.round(2).to_string(), mean_gain)  # noqa: T201
    print(table.pivot(index="trait", columns=["answers", "judge"], values="auc").round(2).to_string())  # noqa: T201


if __name__ == "__main__":
    main()
