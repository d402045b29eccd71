"""Is a trait's direction a sum of a few latents of a dictionary, and do the latents nearest to it steer?

Per model, with a dictionary of the direction's block that `persona-interp sae` trained on the project's own texts: its
quality card stands first; then the trait's direction is decomposed by the largest cosines (the paper's way), the
difference of mean latents and matching pursuit, each against random directions of the same covariance and against
decoders whose rows are shuffled inside; and the latents nearest to it are steered beside random latents of equal
density and the direction itself, all at one length. Weights are not kept, the cards are.
"""

import argparse
from pathlib import Path

from kept_results import draw_saved, print_sentences
from neuron_substrate import CONFIG, keep_results

from persona_interp.data.traits import load_trait
from persona_interp.directions.sae.load import load_sae
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.models.load import load_model
from persona_interp.studies.options import Effort
from persona_interp.studies.sizes import Sizes
from persona_interp.studies.substrates.config import SubstratesRun
from persona_interp.studies.substrates.effects import STUDY
from persona_interp.studies.substrates.effort import EFFORTS
from persona_interp.studies.substrates.figures.drawing import draw_substrates
from persona_interp.studies.substrates.run import run_substrates


def main() -> None:
    """Decompose and steer, and write effects, claims and figures under `analyses/results/sae_decomposition/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", choices=sorted(EFFORTS), default="quick")
    parser.add_argument(
        "--dictionary",
        action="append",
        default=[],
        required=True,
        metavar="MODEL=FOLDER",
        help="of a block's output: persona-interp sae --model MODEL --layer L --out FOLDER makes one",
    )
    parser.add_argument("--work", type=Path, default=Path("results/sae_decomposition"), help="where answers are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/sae_decomposition"))
    chosen = parser.parse_args()
    effort: Effort = chosen.effort
    sizes = {**EFFORTS[effort], "n_random": 0, "n_curve": 0}  # random units are those of `neuron_substrate.py`
    run = SubstratesRun(**sizes, capability=False, seed=CONFIG.seed)
    for name, _, folder in (text.partition("=") for text in chosen.dictionary):
        model = load_model(name)
        dictionary = load_sae(folder, model=model)
        judges = [EmbeddingJudge(), LikelihoodJudge(model, n_pairs=1)]
        for trait in CONFIG.traits:
            work, out = chosen.work / name / trait, chosen.out / name / trait
            run_substrates(
                model,
                load_trait(trait),
                judges,
                run,
                out=work,
                dictionary=dictionary,
                sizes=Sizes(effort, sizes),
            )
            keep_results(work, out)
            draw_saved(out, STUDY, draw_substrates)
            print_sentences(out, STUDY)


if __name__ == "__main__":
    main()
