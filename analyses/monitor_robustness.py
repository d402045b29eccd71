"""Does training against a monitor blind it, and is that harder for activations than for text? See the study's words."""

from finetuning_options import PAPER, chosen_config, print_claims

from persona_interp.studies.finetuning import robustness
from persona_interp.studies.finetuning.robustness import RobustnessConfig
from persona_interp.studies.finetuning.run import run_robustness

PRESETS = {
    "quick": RobustnessConfig(),
    "paper": RobustnessConfig(setup=PAPER, n_samples=5, n_instructions=5, seeds=(0, 1, 2)),
}


def main() -> None:
    """Measure and write under `analyses/results/monitor_robustness/`."""
    config, work, out = chosen_config(
        robustness.__doc__, PRESETS, "monitor_robustness", quick="15 minutes", paper="1.5 hours"
    )
    print_claims(run_robustness(config, work=work, out=out))


if __name__ == "__main__":
    main()
