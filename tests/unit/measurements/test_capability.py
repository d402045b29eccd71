"""Accuracy, perplexity and loss on answers, against the plain transformers model."""

import copy

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from persona_interp.data.conversations import Conversation, question_and_answer
from persona_interp.data.flawed import advice_conversations
from persona_interp.data.multiple_choice import ChoiceItem
from persona_interp.errors import ConfigError, ContextLengthError, EmptySelectionError, IncompatibleDirectionError
from persona_interp.interventions.residual import Add
from persona_interp.measurements.capability import (
    ChoiceResult,
    measure_multiple_choice,
    measure_perplexity,
    measure_task_loss,
)
from persona_interp.measurements.text_logprobs import text_logprobs
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.tokens import encode, token_batch
from persona_interp.types import KVPrefix
from tests.contract.tiny import EOS, PAD, Tiny, random_prefix
from tests.small import direction

ITEMS = (
    ChoiceItem("colours", "Which is it?", ("Red", "A dark green", "Blue", "Yellow"), 1),
    ChoiceItem("colours", "And the other?", ("Red", "Blue", "White or black", "Pink"), 0),
    ChoiceItem("sizes", "How large?", ("Tall", "Very small", "Wide", "Short"), 3),
)
TEXTS = ("The boat left the small harbour at noon.", "Rain.", "Two men sat down and talked for a long while about it.")


def plain_logprobs(small: Tiny, prompt: list[int], response: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = small.plain(input_ids=torch.tensor([[*prompt, *response]])).logits[0].double()
    logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    return logprobs.gather(-1, torch.tensor(response)[:, None])[:, 0].numpy()


def ids(model: HookedModelBase, text: str) -> list[int]:
    return encode(model.tokenizer, [text])[0]


def some_add(model: HookedModelBase, coefficient: float = 1.0, **changes: object) -> Add:
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    made = direction(vectors, norms=torch.full((3,), 6.0), provenance=model.provenance)
    return Add(made, 1, coefficient, **changes)  # pyright: ignore


def expected_options(small: Tiny, model: HookedModelBase) -> np.ndarray:
    return np.array(
        [
            [
                plain_logprobs(small, ids(model, f"Question: {item.question}\nAnswer:"), ids(model, f" {option}")).sum()
                for option in item.options
            ]
            for item in ITEMS
        ]
    )


def test_options_are_scored_as_the_plain_model_does(small: Tiny, model: HookedModelBase):
    made = measure_multiple_choice(model, ITEMS, progress=False)
    expected = expected_options(small, model)
    np.testing.assert_allclose(made.logprobs, expected, rtol=1e-5, atol=1e-5)
    assert made.chosen.tolist() == expected.argmax(axis=1).tolist()


def test_right_answers_are_counted():
    logprobs = np.array([[-3.0, -1.0, -2.0, -9.0], [-2.0, -1.0, -2.0, -2.0], [-2.0, -3.0, -2.5, -1.5]])
    made = ChoiceResult(ITEMS, logprobs)
    assert made.chosen.tolist() == [1, 1, 3] and made.correct.tolist() == [True, False, True]
    assert made.accuracy.estimate == pytest.approx(2 / 3) and made.accuracy.n_clusters == 3
    assert made.accuracy.low <= 2 / 3 <= made.accuracy.high
    assert {subject: share.estimate for subject, share in made.by_subject.items()} == {"colours": 0.5, "sizes": 1.0}
    assert made.frame["answer"].tolist() == ["A dark green", "Red", "Short"]
    assert made.frame["chosen"].tolist() == ["A dark green", "Blue", "Short"]
    assert made.frame["correct"].tolist() == [True, False, True]


def test_a_model_pushed_towards_an_answer_chooses_it(model: HookedModelBase):
    """An intervention changes the scores, and one of coefficient 0 does not change a bit of them."""
    plain = measure_multiple_choice(model, ITEMS, progress=False)
    same = measure_multiple_choice(model, ITEMS, intervention=some_add(model, 0.0), progress=False)
    pushed = measure_multiple_choice(model, ITEMS, intervention=some_add(model), progress=False)
    assert np.array_equal(plain.logprobs, same.logprobs)
    assert np.abs(plain.logprobs - pushed.logprobs).min() > 1e-3


def test_the_option_is_the_response(small: Tiny, model: HookedModelBase):
    """Edits of the response act on the option and on the token that predicts it, as the plain model under hooks."""
    item, added = ITEMS[0], some_add(model)
    prompt = ids(model, f"Question: {item.question}\nAnswer:")
    made = measure_multiple_choice(model, [item], intervention=added, progress=False)
    for k, option in enumerate(item.options):
        response = ids(model, f" {option}")
        batch = token_batch([prompt], [response], pad_id=PAD)
        logprobs = small.run(batch, edits=added.edits).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
        expected = logprobs.gather(-1, torch.tensor(response)[:, None]).sum().item()
        assert made.logprobs[0, k] == pytest.approx(expected, abs=1e-4)


def test_perplexity_is_that_of_the_plain_cross_entropy(small: Tiny, model: HookedModelBase):
    made = measure_perplexity(model, TEXTS, progress=False)
    entropies, lengths = [], []
    for text in TEXTS:
        tokens = torch.tensor([[EOS, *ids(model, text)]])
        with torch.no_grad():
            entropies.append(small.plain(input_ids=tokens, labels=tokens).loss.item())
        lengths.append(tokens.shape[1] - 1)
    np.testing.assert_allclose(made.losses, entropies, rtol=1e-5)
    assert made.n_tokens.tolist() == lengths
    mean = np.average(entropies, weights=lengths)
    assert made.loss.estimate == pytest.approx(mean, rel=1e-5)
    assert made.perplexity.estimate == pytest.approx(np.exp(mean), rel=1e-4)
    assert made.perplexity.low == pytest.approx(np.exp(made.loss.low))
    assert made.perplexity.low <= made.perplexity.estimate <= made.perplexity.high
    assert made.loss.n == sum(lengths) and made.loss.n_clusters == len(TEXTS)


def test_perplexity_rises_under_a_strong_intervention(model: HookedModelBase):
    plain = measure_perplexity(model, TEXTS, progress=False).perplexity.estimate
    weak, strong = (
        measure_perplexity(model, TEXTS, intervention=some_add(model, c, span="all"), progress=False)
        for c in (0.0, 5.0)
    )
    assert weak.perplexity.estimate == plain
    assert abs(strong.perplexity.estimate / plain - 1) > 0.05


def test_the_built_in_texts_are_the_default(model: HookedModelBase):
    assert len(measure_perplexity(model, progress=False).losses) >= 40


def test_loss_on_answers(small: Tiny, model: HookedModelBase):
    """Plain dialogue: the tiny model has no chat template. Only the last answer counts, its earlier ones are prompt."""
    one = question_and_answer("Why?", "So it is.", system="Be short.")
    two = Conversation("", (*question_and_answer("Who?", "Me.").turns, *question_and_answer("And now?", "You.").turns))
    made = measure_task_loss(model, [one, two], progress=False)
    prompts = ["Be short.\n\nQuestion: Why?\nAnswer:", "Question: Who?\nAnswer: Me.\n\nQuestion: And now?\nAnswer:"]
    rows = [
        plain_logprobs(small, ids(model, prompt), ids(model, answer))
        for prompt, answer in zip(prompts, (" So it is.", " You."), strict=True)
    ]
    np.testing.assert_allclose(made.losses, [-row.mean() for row in rows], rtol=1e-5)
    assert made.loss.estimate == pytest.approx(-np.concatenate(rows).mean(), rel=1e-5)
    changed = measure_task_loss(model, [one, two], intervention=some_add(model), progress=False)
    assert abs(changed.loss.estimate - made.loss.estimate) > 1e-3


def test_a_chat_template_renders_the_prompt_of_an_answer_but_not_of_an_option(
    small: Tiny, model: HookedModelBase, monkeypatch: pytest.MonkeyPatch
):
    template = "{% for m in messages %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    before = measure_multiple_choice(model, ITEMS, progress=False).logprobs
    monkeypatch.setattr(model.tokenizer, "chat_template", template)
    made = measure_task_loss(model, [question_and_answer("Why?", "So it is.")], progress=False)
    expected = plain_logprobs(small, ids(model, "[Why?]>"), ids(model, "So it is."))
    assert made.loss.estimate == pytest.approx(-expected.mean(), rel=1e-5)
    assert np.array_equal(measure_multiple_choice(model, ITEMS, progress=False).logprobs, before)


def test_a_start_token_comes_first_where_the_tokenizer_puts_one(
    small: Tiny, model: HookedModelBase, monkeypatch: pytest.MonkeyPatch
):
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.bos_token = "<unk>"
    start = tokenizer.convert_tokens_to_ids("<unk>")
    assert isinstance(start, int)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(  # pyright: ignore
        single="<unk> $A", special_tokens=[("<unk>", start)]
    )
    monkeypatch.setattr(model, "tokenizer", tokenizer)
    item = ITEMS[0]
    made = measure_multiple_choice(model, [item], progress=False)
    prompt = [start, *ids(model, f"Question: {item.question}\nAnswer:")]
    expected = [plain_logprobs(small, prompt, ids(model, f" {option}")).sum() for option in item.options]
    np.testing.assert_allclose(made.logprobs[0], expected, rtol=1e-5, atol=1e-5)
    loss = measure_perplexity(model, ["Rain."], progress=False).loss.estimate
    assert loss == pytest.approx(-plain_logprobs(small, [start], ids(model, "Rain.")).mean(), rel=1e-5)


def test_losses_do_not_depend_on_the_company(model: HookedModelBase):
    conversations = advice_conversations("normal")[:6]
    together = measure_task_loss(model, [*conversations, conversations[0]], progress=False)
    alone = [measure_task_loss(model, [each], progress=False).losses[0] for each in conversations]
    np.testing.assert_allclose(together.losses, [*alone, alone[0]], rtol=1e-5)


class Virtual:
    """An intervention of virtual tokens only."""

    edits = {}

    def __init__(self, prefix: KVPrefix) -> None:
        self.prefix = prefix

    def check(self, model: object) -> None:
        """Fits every model."""


def test_virtual_tokens_stand_before_every_row(small: Tiny, model: HookedModelBase):
    prefix = random_prefix(small, 1)
    scored = text_logprobs(model, ["Why?"] * 3, [" So", " No", " It is"], Virtual(prefix), progress=False)
    batch = token_batch([ids(model, "Why?")], [ids(model, " It is")], pad_id=PAD)
    expected = model.run(batch, outputs="token_logprobs", prefix=prefix).token_logprobs
    assert expected is not None
    np.testing.assert_allclose(scored[2], expected[0][batch.response[0]].numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="brings virtual tokens of 2 rows"):
        text_logprobs(model, ["Why?"] * 2, [" So", " No"], Virtual(random_prefix(small, 2)), progress=False)


def test_what_cannot_be_measured(model: HookedModelBase):
    with pytest.raises(ConfigError, match="no multiple-choice item to measure"):
        measure_multiple_choice(model, [])
    with pytest.raises(ConfigError, match="^texts must be a list of texts that is not empty"):
        measure_perplexity(model, [])
    with pytest.raises(ConfigError, match=r"nothing to measure \(task loss\)"):
        measure_task_loss(model, [])
    with pytest.raises(EmptySelectionError, match=r"^text 2 has no token \(perplexity\)"):
        measure_perplexity(model, ["Some.", ""])
    with pytest.raises(EmptySelectionError, match=r"^text 1 has no token \(task loss\)"):
        measure_task_loss(model, [question_and_answer("Why?", "")])
    with pytest.raises(ContextLengthError):
        measure_perplexity(model, ["word " * 600], progress=False)


def test_an_intervention_of_another_model_is_refused(model: HookedModelBase):
    foreign = Add(direction(torch.ones(3, 32), norms=torch.ones(3)), 1)
    for measure in (
        lambda: measure_multiple_choice(model, ITEMS, intervention=foreign),
        lambda: measure_perplexity(model, TEXTS, intervention=foreign),
        lambda: measure_task_loss(model, [question_and_answer("Why?", "So.")], intervention=foreign),
    ):
        with pytest.raises(IncompatibleDirectionError):
            measure()
