"""Does the shift inside a finetuned model say how much its traits changed, and do the data say it before training?

Three traits at three levels; the flawed sets are wrong arithmetic and useless advice. See the study's own words.
"""

from finetuning_options import PAPER, chosen_config, print_claims

from persona_interp.data.levels import LEVELS
from persona_interp.studies.finetuning import shift
from persona_interp.studies.finetuning.run import run_shift
from persona_interp.studies.finetuning.shift import ShiftConfig

PRESETS = {"quick": ShiftConfig(), "paper": ShiftConfig(setup=PAPER, flawed_levels=LEVELS, seeds=(0, 1, 2))}


def main() -> None:
    """Measure and write under `analyses/results/finetuning_shift/`."""
    config, work, out = chosen_config(shift.__doc__, PRESETS, "finetuning_shift", quick="15 minutes", paper="2.5 hours")
    print_claims(run_shift(config, work=work, out=out))


if __name__ == "__main__":
    main()
