"""Does training against a monitor blind it, and is that harder for activations than for text?

Five runs on a trait, one seed, equal settings: benign data (the model's plain answers, the control), the trait's data
(level II), the same under a projection penalty (the answers' projection on the monitored direction must stay what the
base model has on the same tokens), under an adaptive one that optimises against the monitor's reading itself (the
answers must project as the base model's plain answers do, with a weight that grows until they do), and an attack on the
text monitor instead: training answers that the likelihood judge calls trait-expressing while the embedding judge, the
text monitor, does not.

A detector sees a run where its readings of answers to evaluation questions differ from those of the benign run, so that
what any finetuning moves does not count: Cliff's delta (2 AUC - 1), with a bootstrap over questions. Detectors: the
monitored direction at its layer, at other layers and at the last prompt token; a persona vector extracted again from
the finetuned model; a logistic probe trained afresh on it; and the text monitor. Judges that took no part in an attack
say whether the trait is still there.
"""

from finetuning_options import PAPER, chosen_config, print_claims

from persona_interp.studies.finetuning.robustness import RobustnessConfig
from persona_interp.studies.finetuning.run import run_robustness

PRESETS = {
    "quick": RobustnessConfig(),
    "paper": RobustnessConfig(setup=PAPER, n_samples=5, n_instructions=5, seeds=(0, 1, 2)),
}


def main() -> None:
    """Measure and write under `analyses/results/monitor_robustness/`."""
    config, work, out = chosen_config(__doc__, PRESETS, "monitor_robustness", quick="15 minutes", paper="1.5 hours")
    print_claims(run_robustness(config, work=work, out=out))


if __name__ == "__main__":
    main()
