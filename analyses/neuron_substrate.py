"""Which neurons and heads write a trait's direction, is the trait in a few of them, and does ablating them remove it?

Per model and trait: exact shares of the difference that the trait makes to its projection, by embedding, head, MLP and
neuron; what the ranking would be with the high-norm dimensions and massive positions that are left out; probes of k
neurons against k random ones and against the dense direction ("structured, not diffuse"); the writers ablated under the
trait prompt against random units of the same layers and sizes, with perplexity and accuracy beside. The direction comes
from one half of the extraction questions, the writers from the other, expression from the evaluation questions.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from kept_results import draw_saved, print_sentences

from persona_interp.data.traits import load_trait
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


@dataclass(frozen=True)
class Config:
    """Models with the block that each is read at, and traits.

    Args:
        layers: named before any answer: half way, where both models steer.
    """

    models: tuple[str, ...] = ("smollm2-135m-instruct", "gemma-3-270m")
    layers: tuple[int, ...] = (14, 9)
    traits: tuple[str, ...] = ("impolite",)
    seed: int = 0


CONFIG = Config()


def keep_results(work: Path, out: Path) -> None:
    """What a run found, beside its figures: effects, claims and provenance."""
    out.mkdir(parents=True, exist_ok=True)
    for file in ("effects.parquet", "claims.parquet", f"provenance_{STUDY}.json"):
        (out / file).write_bytes((work / file).read_bytes())


def main() -> None:
    """Measure, and write effects, claims and figures under `analyses/results/neuron_substrate/MODEL/TRAIT/`."""
    config = CONFIG
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", choices=sorted(EFFORTS), default="quick")
    parser.add_argument("--model", action="append", help="only these of the models")
    parser.add_argument("--device", help="cuda, say; default: what there is")
    parser.add_argument("--work", type=Path, default=Path("results/neuron_substrate"), help="where answers are kept")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/neuron_substrate"))
    chosen = parser.parse_args()
    effort: Effort = chosen.effort
    run = SubstratesRun(**EFFORTS[effort], seed=config.seed)
    for name, layer in zip(config.models, config.layers, strict=True):
        if chosen.model and name not in chosen.model:
            continue
        model = load_model(name, device=chosen.device)
        judges = [EmbeddingJudge(), LikelihoodJudge(model, n_pairs=1)]
        for trait in config.traits:
            work, out = chosen.work / name / trait, chosen.out / name / trait
            sizes = Sizes(effort, EFFORTS[effort])
            run_substrates(model, load_trait(trait), judges, run, out=work, layer=layer, sizes=sizes)
            keep_results(work, out)
            draw_saved(out, STUDY, draw_substrates)
            print_sentences(out, STUDY)


if __name__ == "__main__":
    main()
