"""Where is a trait's direction decodable, steerable, necessary and sufficient, layer by layer, and do these come apart?

The direction comes from answers to extraction questions; everything else is on evaluation questions: held-out AUC;
the direction added at one KL divergence from the unsteered model; ablated under the trait's prompt; its component
patched from the trait's prompt into the opposite one, and back, beside the whole residual. Readout is the preference
for answers with the trait, in nats a token, each beside random directions with the covariance within the poles; and
greedy answers that judges rate.
"""

import argparse
from pathlib import Path

from kept_results import draw_saved, print_sentences
from neuron_substrate import CONFIG

from persona_interp.data.traits import load_trait
from persona_interp.judges.embedding import EmbeddingJudge
from persona_interp.judges.likelihood import LikelihoodJudge
from persona_interp.models.load import load_model
from persona_interp.studies.causal.config import EFFORTS, CausalRun
from persona_interp.studies.causal.effects import STUDY
from persona_interp.studies.causal.figures import draw_causal
from persona_interp.studies.causal.run import causal_panel
from persona_interp.studies.options import Effort
from persona_interp.studies.sizes import Sizes


def main() -> None:
    """Measure, and write effects, claims and figures under `analyses/results/causal_panel/MODEL/TRAIT/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", choices=sorted(EFFORTS), default="quick")
    parser.add_argument("--model", action="append", help="only these of the models")
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--work", type=Path, default=Path("results/causal_panel"), help="where answers are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/causal_panel"))
    chosen = parser.parse_args()
    effort: Effort = chosen.effort
    run = CausalRun(**EFFORTS[effort], seed=CONFIG.seed)
    for name in chosen.model or CONFIG.models:
        model = load_model(name, device=chosen.device)
        judges = [EmbeddingJudge(), LikelihoodJudge(model, n_pairs=1)]
        for trait in CONFIG.traits:
            work, out = chosen.work / name / trait, chosen.out / name / trait
            causal_panel(model, load_trait(trait), judges, run, out=work, sizes=Sizes(effort, EFFORTS[effort]))
            out.mkdir(parents=True, exist_ok=True)
            for file in ("effects.parquet", "claims.parquet", f"provenance_{STUDY}.json"):
                (out / file).write_bytes((work / file).read_bytes())
            draw_saved(out, STUDY, draw_causal)
            print_sentences(out, STUDY)


if __name__ == "__main__":
    main()
