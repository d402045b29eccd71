"""What is asked of emoji, and how much work that is."""

from dataclasses import dataclass
from typing import Literal, get_args

from persona_interp.arguments import checked
from persona_interp.bounds import Count, CountOrNone, Positive, Seed, SomeTuple, Temperature
from persona_interp.errors import ConfigError
from persona_interp.finetuning.settings import LoRA, TrainingDtype, TrainingSettings
from persona_interp.statistics.streams import derived_seed

BIG_FIVE = ("extraversion", "openness", "agreeableness", "conscientiousness", "neuroticism")

Control = Literal["plain", "low"]
"""What the control is tuned on: the model's plain answers to the same questions, or those of the trait's other pole."""

CONTROLS: tuple[Control, ...] = get_args(Control)


@checked
@dataclass(frozen=True)
class EmojiRun:
    """Traits and sizes.

    Args:
        control: see `Control`; every answer is cut to as many tokens as its partner in the training set of the trait.
        n_train: questions whose answers are trained on; pairs in which one answer holds an emoji are left out.
        n_repeats: how often every arm is made anew, with questions, texts and a training seed of its own. With one, no
            claim is made: what two trainings differ by is not known.
        train_dtype: of the frozen weights in training; everything is measured in the dtype of the model.
        n_questions: held out, half of them requests to write something and half questions of the Big Five.
        n_samples: answers to each, with the question as it is and with three emoji behind it.
        n_selection: training questions that are answered with three emoji behind them, to find writers in.
        top: how many writers are ablated together; the first is the number of the claim.
        n_random: sets of random neurons; as many are drawn for the number of the claim, a third of it for the others.
    """

    traits: SomeTuple[str] = BIG_FIVE
    control: Control = "plain"
    n_train: Count = 64
    training_tokens: Count = 64
    training_temperature: Temperature = 0.7
    n_epochs: Positive = 3.0
    n_repeats: Count = 2
    train_dtype: TrainingDtype = "float32"
    lora: LoRA = LoRA()
    n_questions: Count = 48
    n_samples: Count = 4
    n_selection: Count = 48
    max_new_tokens: Count = 32
    temperature: Temperature = 1.0
    top: SomeTuple[Count] = (16, 4, 64)
    n_random: CountOrNone = 39
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            ConfigError: too few or too many questions, or a trait or a number of writers that is there twice.
        """
        for name, (least, most) in {"n_train": (4, 240), "n_questions": (6, 96), "n_selection": (4, 120)}.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be {least} to {most}, got {getattr(self, name)}.")
        for name in ("traits", "top"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ConfigError(f"{name} must differ, got {', '.join(map(str, getattr(self, name)))}.")

    def training(self, repeat: int) -> TrainingSettings:
        """Settings of a repeat, from 0."""
        seed = derived_seed(self.seed, "training", repeat)
        return TrainingSettings(n_epochs=self.n_epochs, dtype=self.train_dtype, seed=seed)
