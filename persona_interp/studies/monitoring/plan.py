"""What monitoring of transcripts will take: tokens to read."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from persona_interp.data.conversations import Conversation
from persona_interp.models.tokens import encode
from persona_interp.studies.plan import Step


def monitoring_plan(tokenizer: PreTrainedTokenizerBase, sets: Mapping[str, Sequence[Conversation]]) -> list[Step]:
    """A step a set of conversations, each of which is read once; sets without one are left out."""
    steps = []
    for name, conversations in sets.items():
        texts = [turn.content for conversation in conversations for turn in conversation.turns if turn.content]
        if conversations:
            steps.append(Step(name, len(conversations), 0, sum(map(len, encode(tokenizer, texts))) if texts else 0))
    return steps
