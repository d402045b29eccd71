"""Are the ways to a direction the same direction, and which of them steers most at the same strength?

Persona vectors in three poolings, a style vector of written texts, a probe, PCA, LDA, the top neurons, prompts and
random directions for three traits: angles without scatter at every layer, projections of the same held-out answers,
stability over questions, prompt pairs and seeds; then all at the same mean KL from the unsteered model: expression,
coherence, off-target traits, perplexity and four-option accuracy.
"""

import argparse
from pathlib import Path

from kept_results import draw_saved, print_sentences

from persona_interp.data.traits import load_trait
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.models.load import load_model
from persona_interp.studies.comparison.config import EFFORTS, ComparisonRun
from persona_interp.studies.comparison.effects import STUDY
from persona_interp.studies.comparison.figures.drawing import draw_comparison
from persona_interp.studies.comparison.run import compare_methods
from persona_interp.studies.options import Effort
from persona_interp.studies.sizes import Sizes

MODEL = "smollm2-135m-instruct"
TRAITS = ("impolite", "optimistic", "sycophantic")


def main() -> None:
    """Measure, and write effects, claims and figures under `analyses/results/comparison/MODEL/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", choices=sorted(EFFORTS), default="quick")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--trait", action="append", help="only these of the traits")
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--work", type=Path, default=Path("results/comparison"), help="where answers are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/comparison"))
    chosen = parser.parse_args()
    effort: Effort = chosen.effort
    work, out = chosen.work / chosen.model, chosen.out / chosen.model
    model = load_model(chosen.model, device=chosen.device)
    compare_methods(
        model,
        [load_trait(name) for name in chosen.trait or TRAITS],
        [EmbeddingJudge(), LikelihoodJudge(model, n_pairs=1)],
        ComparisonRun(**EFFORTS[effort]),
        out=work,
        sizes=Sizes(effort, EFFORTS[effort]),
    )
    out.mkdir(parents=True, exist_ok=True)
    for file in ("effects.parquet", "claims.parquet", f"provenance_{STUDY}.json"):
        (out / file).write_bytes((work / file).read_bytes())
    draw_saved(out, STUDY, draw_comparison)
    print_sentences(out, STUDY)


if __name__ == "__main__":
    main()
