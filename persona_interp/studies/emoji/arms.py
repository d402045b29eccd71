"""The arms: the untuned model, and models tuned on a trait's texts or on their partners, by repeat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from persona_interp.data.conversations import Conversation
from persona_interp.finetuning.train import finetune
from persona_interp.models.hooked import HookedModelBase
from persona_interp.studies.emoji.config import EmojiRun
from persona_interp.studies.emoji.texts import TrainingPairs

UNTUNED, TUNED, CONTROL = "untuned", "tuned on the trait", "control tuning"


@dataclass(frozen=True)
class Arm:
    """What is measured: a kind of model, of which trait and repeat.

    Args:
        trait: "" for the untuned model, which has none.
        load: the model, which is trained first where that was not done; loaded anew by each call.
    """

    trait: str
    kind: str
    repeat: int
    load: Callable[[], HookedModelBase]

    @property
    def name(self) -> str:
        """Of its rows that are kept, and of its bars."""
        return "untuned" if self.kind == UNTUNED else f"{self.trait} {self.kind} repeat {self.repeat}"

    @property
    def columns(self) -> dict[str, object]:
        """What says in every table which arm a row is of."""
        return {"trait": self.trait, "arm": self.kind, "repeat": self.repeat}


def untuned(model: HookedModelBase) -> Arm:
    """The model as it is."""
    return Arm("", UNTUNED, 0, lambda: model)


def tuned_arms(
    base: HookedModelBase, trait: str, pairs: TrainingPairs, run: EmojiRun, repeat: int, folder: Path, *, progress: bool
) -> list[Arm]:
    """Both training sets of one repeat of a trait; adapters are kept in the folder."""

    def trained(kind: str, conversations: Sequence[Conversation]) -> HookedModelBase:
        done = finetune(
            base,
            conversations,
            out=folder / ("tuned" if kind == TUNED else "control"),
            lora=run.lora,
            settings=run.training(repeat),
            device=str(base.device),
            progress=progress,
        )
        return done.load(base.backend, dtype=base.provenance.dtype, device=str(base.device))  # pyright: ignore

    sets = {TUNED: pairs.high, CONTROL: pairs.control}
    return [Arm(trait, kind, repeat, partial(trained, kind, texts)) for kind, texts in sets.items()]
