"""Do different models place the same traits at the same angles to each other?

Published persona vectors of seven traits for Qwen3-4B, Qwen3-32B and gpt-oss-20b: the cosines of the 21 pairs of traits
are correlated between models at equal relative depth. Null: the traits of one model renamed in all 5,040 ways, each
renaming with its own maximum over depths. Interval: jackknife over traits. All p of the claims are corrected together
(Benjamini-Hochberg). The embedding row and the row after the final norm take no part.
"""

import argparse
import sys
from pathlib import Path

from kept_results import draw_saved, print_sentences

from persona_interp.directions.formats import ModelShape
from persona_interp.studies.trait_geometry.config import GeometryConfig, load_vectors
from persona_interp.studies.trait_geometry.effects import STUDY
from persona_interp.studies.trait_geometry.figures import draw_trait_geometry
from persona_interp.studies.trait_geometry.run import run_trait_geometry, saved_cosines

VECTORS = Path(__file__).parent.parent / ".." / "shared" / "data" / "persona_vectors" / "vectors"
WHERE_FROM = """There are no published vectors in {folder}.
  This analysis reads files MODEL/TRAIT_response_avg_diff.pt. Vectors in this form come from the persona_vectors
  repository (safety-research/persona_vectors, generate_vec.py) and from forks of it that released theirs.
  Name their folder with --vectors, or make vectors with `persona-interp run` and name them with --extra NAME=FOLDER."""
CONFIG = GeometryConfig(
    shapes=(ModelShape("Qwen3-4B", 36, 2560), ModelShape("Qwen3-32B", 64, 5120), ModelShape("gpt-oss-20b", 24, 2880)),
    traits=("evil", "sycophantic", "hallucinating", "humorous", "impolite", "optimistic", "apathetic"),
)


def main() -> int:
    """Compare the models there are, and write under `analyses/results/trait_geometry/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path, default=VECTORS, help="folder with MODEL/TRAIT_response_avg_diff.pt")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME=FOLDER", help="our own vectors")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/trait_geometry"))
    chosen = parser.parse_args()
    extra = [(name, Path(folder)) for name, _, folder in (text.partition("=") for text in chosen.extra)]
    vectors, hashes = load_vectors(CONFIG, chosen.vectors, extra)
    if len(vectors) < 2:
        print(WHERE_FROM.format(folder=chosen.vectors))  # noqa: T201
        return 0
    run_trait_geometry(vectors, hashes, CONFIG, chosen.out)
    cosines = saved_cosines(chosen.out)
    draw_saved(chosen.out, STUDY, lambda effects: draw_trait_geometry(effects, cosines, mid_depth=CONFIG.mid_depth))
    print_sentences(chosen.out, STUDY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
