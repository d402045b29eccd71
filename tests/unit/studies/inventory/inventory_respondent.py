"""A stand-in for a model that answers inventories as a rule says: no weights, only log-probabilities."""

import re
from collections.abc import Callable
from typing import Any

import torch

from persona_interp.types import ForwardPass, TokenBatch
from tests.contract.tiny import make_tokenizer
from tests.small import StubModel

Rule = Callable[[str, str], float]
"""Log-probability of an option behind a prompt, both as text."""


class RuleModel(StubModel):
    """Log p(option | prompt) is what the rule says, put on the option's first token."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.tokenizer: Any = make_tokenizer()
        self.rule = rule
        self.n_rows = 0

    def run(self, batch: TokenBatch, **_: Any) -> ForwardPass:
        """Log-probabilities of the response tokens."""
        result = torch.zeros(batch.ids.shape)
        self.n_rows += len(batch)
        for i, (ids, mask, response) in enumerate(zip(batch.ids, batch.mask, batch.response, strict=True)):
            prompt, option = self.tokenizer.decode(ids[mask & ~response]), self.tokenizer.decode(ids[response])
            result[i, int(response.nonzero()[0])] = self.rule(prompt, option.strip())
        return ForwardPass(token_logprobs=result)


def listed(prompt: str) -> dict[str, str]:
    """The numbered or lettered options of a prompt: code -> text."""
    return dict(re.findall(r"^(\w)[.)] (.*)$", prompt, flags=re.MULTILINE))
