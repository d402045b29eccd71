"""Does a model agree more with what is said more often, does a base model already, and through which heads?

A user's opinion is stated 0, 1, 2 or 4 times among four sentences of equal length, in the same words, in other words
each time, or once beside a neutral sentence that is repeated; both opinions of every topic are the user's in turn.
Agreement is a difference of log-probabilities of answers; there is no judge. Heads that look at the statements and
write from there toward the sycophancy direction are found on other topics, and ablated against random heads.
"""

import argparse
from pathlib import Path

from kept_results import draw_saved, print_sentences

from persona_interp.models.load import load_model
from persona_interp.studies.options import Effort
from persona_interp.studies.repetition.config import EFFORTS, RepetitionRun
from persona_interp.studies.repetition.effects import STUDY
from persona_interp.studies.repetition.figures import draw_repetition
from persona_interp.studies.repetition.run import run_repetition
from persona_interp.studies.sizes import Sizes

MODELS = ("smollm2-135m-instruct", "gemma-3-270m")
"""Tuned to follow instructions, and a base model."""


def main() -> None:
    """Measure, and write effects, claims and figures under `analyses/results/repetition/MODEL/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", choices=sorted(EFFORTS), default="quick")
    parser.add_argument("--model", action="append", help="only these of the models")
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--work", type=Path, default=Path("results/repetition"), help="where scores are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/repetition"))
    chosen = parser.parse_args()
    effort: Effort = chosen.effort
    for name in chosen.model or MODELS:
        work, out = chosen.work / name, chosen.out / name
        run_repetition(
            load_model(name, device=chosen.device),
            RepetitionRun(**EFFORTS[effort]),
            out=work,
            sizes=Sizes(effort, EFFORTS[effort]),
        )
        out.mkdir(parents=True, exist_ok=True)
        for file in ("effects.parquet", "claims.parquet", f"provenance_{STUDY}.json"):
            (out / file).write_bytes((work / file).read_bytes())
        draw_saved(out, STUDY, draw_repetition)
        print_sentences(out, STUDY)


if __name__ == "__main__":
    main()
