"""What each way of preventing or correcting a trait leaves of it, and what it costs, as a frontier.

Strengths are listed, not chosen. See the study's own words.
"""

from finetuning_options import PAPER, chosen_config, print_claims

from persona_interp.studies.finetuning import prevention
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
    config, work, out = chosen_config(prevention.__doc__, PRESETS, "prevention", quick="20 minutes", paper="2 hours")
    print_claims(run_prevention(config, work=work, out=out))


if __name__ == "__main__":
    main()
