"""How well do the judges that need no API tell answers with a trait from answers without it?

Forty-two hand-written hard pairs a trait, made apart from the exemplars that the judges are calibrated on, and used for
nothing but this: subtle, of one topic and length, or with the sentiment against the trait. Reported, for the embedding
judge, the lexical judge and the likelihood judge with one and with five prompt pairs: AUC with its interval over pairs,
p by exchange within pairs, q over the table; what the mean of all judges gains over the best of them, chosen on other
pairs; and every score, so that they can be evaluated again.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from kept_results import write_tables

from persona_interp.data.hard_pairs import hard_pairs
from persona_interp.data.traits import list_traits, load_trait
from persona_interp.effects import write_runs
from persona_interp.identity import of_judges, of_package
from persona_interp.io import write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.lexical import LexicalJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.studies.judge_validity.effects import STUDY, judge_runs
from persona_interp.studies.judge_validity.run import consensus_gain, judge_scores, judge_validity

METHOD_VERSION = 1
"""Raised where the same inputs come to give other numbers."""


@dataclass(frozen=True)
class Config:
    """Which judges are tested."""

    models: tuple[str, ...] = ("smollm2-135m-instruct",)
    n_pairs: tuple[int, ...] = (1, 5)
    dtype: str = "auto"


def judges(config: Config) -> dict[str, Judge]:
    """The judges by the name they have in the table."""
    found: dict[str, Judge] = {"embedding (all-MiniLM-L6-v2)": EmbeddingJudge(), LexicalJudge.name: LexicalJudge()}
    for name in config.models:
        model = load_model(name, dtype=config.dtype)
        found |= {f"likelihood ({name}), {n} prompt pairs": LikelihoodJudge(model, n_pairs=n) for n in config.n_pairs}
    return found


def main() -> None:
    """Measure, and write scores, effects and claims under `analyses/results/judge_validity/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/judge_validity"))
    parser.add_argument("--models", default="smollm2-135m-instruct", help="judging models, separated by commas")
    chosen = parser.parse_args()
    config = Config(models=tuple(chosen.models.split(",")))
    high = [name for name in list_traits() if not name.startswith("low_")]  # the low poles have the same pairs
    hard = {name: pairs for name in high if (pairs := hard_pairs(load_trait(name)))}
    tested = judges(config)
    scores = judge_scores(tested, hard)
    frame = judge_validity(scores)
    texts = {name: [asdict(pair) for pair in pairs] for name, pairs in hard.items()}
    identity = {"judges": of_judges(list(tested.values())), "pairs": texts, **of_package(METHOD_VERSION)}
    write_tables(chosen.out, {"scores": scores})
    several = [name for name in tested if name != LexicalJudge.name and not name.endswith(", 1 prompt pairs")]
    gains, mean_gain = consensus_gain(scores, several)
    write_runs(chosen.out, STUDY, judge_runs(frame, identity))
    write_json(chosen.out / "provenance.json", {"config": asdict(config), "versions": library_versions()})
    print(gains.round(2).to_string(), mean_gain)  # noqa: T201
    print(frame.pivot(index="trait", columns=["answers", "judge"], values="auc").round(2).to_string())  # noqa: T201


if __name__ == "__main__":
    main()
