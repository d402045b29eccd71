"""How well do the judges that need no API tell answers with a trait from answers without it?

Twelve hand-written pairs a trait, made apart from the exemplars that the judges are calibrated on; several are subtle
or have the sentiment against the trait. Reported, for the embedding judge and for the likelihood judge with one and
with five prompt pairs: AUC with its interval over pairs, p by exchange within pairs, q over the table; and every score,
so that they can be evaluated again.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from kept_results import write_tables
from scipy.stats import rankdata

from persona_interp.data.traits import Trait, load_trait
from persona_interp.io import write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.statistics import auc_intervals, corrected, permutation_test_paired

PAIRS = Path(__file__).parent.parent / "tests" / "data" / "judge_pairs"


@dataclass(frozen=True)
class Config:
    """Which judges are tested."""

    models: tuple[str, ...] = ("smollm2-135m-instruct",)
    n_pairs: tuple[int, ...] = (1, 5)
    dtype: str = "auto"


def judges(config: Config) -> list[tuple[str, Judge]]:
    """The judges by the name they have in the table."""
    found: list[tuple[str, Judge]] = [("embedding (all-MiniLM-L6-v2)", EmbeddingJudge())]
    for name in config.models:
        model = load_model(name, dtype=config.dtype)
        found += [(f"likelihood ({name}), {n} prompt pairs", LikelihoodJudge(model, n_pairs=n)) for n in config.n_pairs]
    return found


def answer_sets(trait: Trait) -> dict[str, list[dict[str, str]]]:
    """The hard pairs, and the exemplars, which are plain and longer.

    The likelihood judge only takes its scale from the exemplars, so its AUC on them is a fair test; the embedding judge
    is made of them.
    """
    hard = json.loads((PAIRS / f"{trait.name}.json").read_text(encoding="utf-8"))
    return {"hard pairs": hard, "exemplars": [asdict(exemplar) for exemplar in trait.exemplars]}


def run(config: Config) -> pd.DataFrame:
    """One row a pair, trait, set of answers and judge: the raw score of its answer with the trait and without."""
    rows = []
    for label, judge in judges(config):
        for file in sorted(PAIRS.glob("*.json")):
            trait = load_trait(file.stem)
            for kind, pairs in answer_sets(trait).items():
                if kind == "exemplars" and isinstance(judge, EmbeddingJudge):
                    continue
                questions = [pair["question"] for pair in pairs]
                answers = [pair["pos"] for pair in pairs] + [pair["neg"] for pair in pairs]
                raw = np.array([score.raw for score in judge.rate(trait, questions * 2, answers)])
                scores = {"pair": range(len(pairs)), "with_trait": raw[: len(pairs)], "without": raw[len(pairs) :]}
                rows.append(pd.DataFrame({"trait": trait.name, "answers": kind, "judge": label, **scores}))
    return pd.concat(rows, ignore_index=True)


def validity(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a trait, set of answers and judge: AUC, interval, number of pairs, p and q.

    p is of an AUC of at least the one seen where the two answers of every pair are exchanged at random: ranks over all
    answers stay, so that their paired mean difference orders the exchanges as the AUC does.
    """
    rows = []
    for (trait, answers, judge), cell in scores.groupby(["trait", "answers", "judge"], sort=False):
        positive, negative = (cell[side].to_numpy(float) for side in ("with_trait", "without"))
        clusters, n = cell["pair"].to_numpy(), len(cell)
        found = auc_intervals(positive[:, None], negative[:, None], clusters, clusters)[0]
        ranks = rankdata(np.concatenate([positive, negative]))
        p = permutation_test_paired(ranks[:n], ranks[n:], clusters, alternative="greater").p_value
        named = {"trait": trait, "answers": answers, "judge": judge}
        rows.append({**named, "auc": found.estimate, "low": found.low, "high": found.high, "n_pairs": n, "p": p})
    return corrected(pd.DataFrame(rows))


def main() -> None:
    """Measure and write the tables under `analyses/results/judge_validity/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/judge_validity"))
    parser.add_argument("--models", default="smollm2-135m-instruct", help="judging models, separated by commas")
    chosen = parser.parse_args()
    config = Config(models=tuple(chosen.models.split(",")))
    scores = run(config)
    frame = validity(scores)
    write_tables(chosen.out, {"scores": scores, "judge_validity": frame})
    write_json(chosen.out / "provenance.json", {"config": asdict(config), "versions": library_versions()})
    print(frame.pivot(index="trait", columns=["answers", "judge"], values="auc").round(2).to_string())  # noqa: T201


if __name__ == "__main__":
    main()
