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

from kept_results import write_tables

from persona_interp.effects import write_runs
from persona_interp.identity import of_judges, of_package
from persona_interp.io import write_json
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.judges.protocol import Judge
from persona_interp.models.identity import library_versions
from persona_interp.models.load import load_model
from persona_interp.studies.judge_validity.effects import STUDY, judge_runs
from persona_interp.studies.judge_validity.run import judge_scores, judge_validity

PAIRS = Path(__file__).parent.parent / "tests" / "data" / "judge_pairs"
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
    found: dict[str, Judge] = {"embedding (all-MiniLM-L6-v2)": EmbeddingJudge()}
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
    config, hard = Config(models=tuple(chosen.models.split(","))), {}
    for file in sorted(PAIRS.glob("*.json")):
        hard[file.stem] = json.loads(file.read_text(encoding="utf-8"))
    tested = judges(config)
    scores = judge_scores(tested, hard)
    frame = judge_validity(scores)
    identity = {"judges": of_judges(list(tested.values())), "pairs": hard, **of_package(METHOD_VERSION)}
    write_tables(chosen.out, {"scores": scores})
    write_runs(chosen.out, STUDY, judge_runs(frame, identity))
    write_json(chosen.out / "provenance.json", {"config": asdict(config), "versions": library_versions()})
    print(frame.pivot(index="trait", columns=["answers", "judge"], values="auc").round(2).to_string())  # noqa: T201


if __name__ == "__main__":
    main()
