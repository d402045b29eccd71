"""What each way of preventing or correcting a trait leaves of it, and what it costs.

One training set (level II of a trait, distilled from the model's own prompted answers), one seed, one adapter. Before
or during training: preventative steering at one layer and at all, preventative prompting, concept ablation (CAFT), the
projection penalty. Afterwards: steering against the trait, and an upper cap of the projection. Every arm is measured
in the same way: expression of the trait and of others on evaluation questions (with the share of coherent answers),
loss on held-out data of the task, perplexity of neutral texts, and accuracy on four-option questions. A frontier shows
what each costs; strengths are listed, not chosen.
"""

from finetuning_options import PAPER, chosen_config, print_claims

from persona_interp.studies.finetuning.arms import PreventionConfig
from persona_interp.studies.finetuning.run import run_prevention

PRESETS = {
    "quick": PreventionConfig(),
    "paper": PreventionConfig(
        setup=PAPER,
        steering=(0.05, 0.1, 0.2, 0.4),
        multi_layer=(0.5, 1.0, 1.5),
        penalties=(100.0, 1000.0, 10000.0),
        correcting=(0.05, 0.1, 0.2, 0.4),
        caps=(25.0, 50.0, 75.0),
        every_choice=1,
        n_texts=40,
    ),
}


def main() -> None:
    """Measure and write under `analyses/results/prevention/`."""
    config, work, out = chosen_config(__doc__, PRESETS, "prevention", quick="20 minutes", paper="2 hours")
    print_claims(run_prevention(config, work=work, out=out))


if __name__ == "__main__":
    main()
