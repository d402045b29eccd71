"""Does the projection before an answer say how much of a trait the answer will show, and do alerts keep their rate?

For every trait: the persona vector from extraction questions; eight graded system prompts (with an instruction that the
vector was not made with) and 0 to 20 shots, on evaluation questions; Pearson r of the projection of the last prompt
token with the judged expression of the answers, overall and within conditions, at every layer and at one named in
advance. Then the online monitor: a threshold for each trait from unprompted answers to extraction questions, its false
alarms on unprompted answers to evaluation questions, and its hits on answers to the strongest system prompt. There is
one answer a question, because both the threshold and the exact intervals ask for independent answers.
"""

import argparse
from pathlib import Path

from persona_interp.data.traits import load_trait
from persona_interp.effects import saved_claims, saved_effects
from persona_interp.figures.style import paper_style, save_figure
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.models.load import load_model
from persona_interp.studies.monitoring.config import MonitoringConfig
from persona_interp.studies.monitoring.effects import STUDY
from persona_interp.studies.monitoring.figures.monitoring import draw_monitoring
from persona_interp.studies.monitoring.run import run_monitoring
from persona_interp.studies.monitoring.saved import write_monitoring_effects
from persona_interp.tables import read_table

PRESETS = {
    "quick": MonitoringConfig(),
    "full": MonitoringConfig(n_eval_questions=20, n_samples=10, max_new_tokens=64, judge_pairs=5),
}


def emit(folder: Path) -> None:
    """Effects and claims from the tables that are saved in a folder, and its figures."""
    write_monitoring_effects(folder)
    draw(folder)


def draw(folder: Path) -> None:
    """The two figures, for the judge that comes first and does not share the model's weights."""
    effects, judge = saved_effects(folder, STUDY), read_table(folder / "correlations.csv")["judge"].iloc[0]
    assert effects is not None, "the study has just been written"
    with paper_style():
        for one in draw_monitoring(effects, read_table(folder / "units.csv"), judge=judge):
            save_figure(one.figure, one.frame, folder, one.name)


def main() -> None:
    """Measure and write under `analyses/results/monitoring/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/monitoring"))
    parser.add_argument("--work", type=Path, default=Path("results/monitoring"), help="rollouts, kept to go on from")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="quick")
    chosen = parser.parse_args()
    config = PRESETS[chosen.preset]
    model = load_model(config.model, dtype=config.dtype)
    judges = [EmbeddingJudge(), LikelihoodJudge(model, n_pairs=config.judge_pairs)]
    traits = [load_trait(name) for name in config.traits]
    run_monitoring(model, traits, judges, config, work=chosen.work / chosen.preset, out=chosen.out)
    draw(chosen.out)
    claims = saved_claims(chosen.out, STUDY)
    print(*([] if claims is None else claims["sentence"]), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
