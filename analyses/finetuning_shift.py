"""Does the shift inside a finetuned model say how much its traits changed, and do the data say it before training?

A grid of LoRA runs: the training sets of three traits at three levels, and two flawed but unrelated sets (wrong
arithmetic, useless advice) with their flawless twins. Of every run: the finetuning shift (last prompt token on
evaluation questions, after - before, along each persona vector) and the change of trait expression. Then Pearson r over
runs, for a trait's own direction and for others', with intervals over data sets and the null battery; and before
training, the projection difference of the data, their raw projection, and the proxy without generated answers, each
against the shift and the expression that follow.
"""

from finetuning_options import PAPER, chosen_config, print_claims

from persona_interp.data.levels import LEVELS
from persona_interp.studies.finetuning.run import run_shift
from persona_interp.studies.finetuning.shift import ShiftConfig

PRESETS = {"quick": ShiftConfig(), "paper": ShiftConfig(setup=PAPER, flawed_levels=LEVELS, seeds=(0, 1, 2))}


def main() -> None:
    """Measure and write under `analyses/results/finetuning_shift/`."""
    config, work, out = chosen_config(__doc__, PRESETS, "finetuning_shift", quick="15 minutes", paper="2.5 hours")
    print_claims(run_shift(config, work=work, out=out))


if __name__ == "__main__":
    main()
