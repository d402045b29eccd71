"""A watch sees what the model goes on with, however the passes are cut, and leaves nothing behind."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from persona_interp.errors import HookpointError
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.prefix_tree import plan_prefill
from persona_interp.models.protocol import Sampling
from persona_interp.models.recorder import Segment, Watch
from persona_interp.models.tokens import token_batch
from persona_interp.models.watch import watched_transformers
from persona_interp.types import Edit, Edits, Hookpoint, TokenBatch
from tests.contract.test_hooks import Planned, anatomy
from tests.contract.tiny import (
    N_LAYERS,
    PAD,
    TOLERANCE,
    Tiny,
    all_hookpoints,
    inner_module,
    prompt_batch,
    shifting,
    uneven_batch,
    words,
)

SAMPLED = Sampling(max_new_tokens=24, n_samples=4, seed=3, stop_ids=(11, 12, 13))


@dataclass(eq=False)
class Notebook:
    """Writes down, for every row, all of its tokens so far with their residuals at each hookpoint."""

    hookpoints: Sequence[Hookpoint] = tuple(all_hookpoints())
    calls: int = 0
    ids: list[list[int]] = field(default_factory=list)
    residuals: dict[Hookpoint, list[list[Tensor]]] = field(default_factory=dict)
    last: list[list[int]] = field(default_factory=list)
    response: list[list[int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def start(self) -> None:
        self.calls += 1
        self.ids, self.residuals, self.last, self.response, self.sizes = [], {}, [], [], []

    def begin(self, segment: Segment, rows: Tensor | None) -> None:
        self.segment = segment
        self.rows = list(range(len(segment.ids))) if rows is None else rows.tolist()
        self.seen: dict[Hookpoint, Tensor] = {}
        self.sizes.append(len(self.rows))
        if not self.ids:
            self.expand(torch.zeros(len(self.rows), dtype=torch.long))

    def observe(self, hookpoint: Hookpoint, residual: Tensor) -> None:
        assert hookpoint not in self.seen, "once a pass"
        self.seen[hookpoint] = residual.detach().clone()

    def end(self) -> None:
        for i, row in enumerate(self.rows):
            for position in self.segment.mask[i].nonzero()[:, 0].tolist():
                place = len(self.ids[row])
                self.ids[row].append(int(self.segment.ids[i, position]))
                if self.segment.last[i, position]:
                    self.last[row].append(place)
                if self.segment.response[i, position]:
                    self.response[row].append(place)
                for hookpoint, values in self.seen.items():
                    self.residuals[hookpoint][row].append(values[i, position])

    def expand(self, parent: Tensor) -> None:
        if not self.ids:
            self.ids, self.last, self.response = ([[] for _ in parent] for _ in range(3))
            self.residuals = {hookpoint: [[] for _ in parent] for hookpoint in self.hookpoints}
            return
        self.ids, self.last, self.response = (
            [list(held[p]) for p in parent.tolist()] for held in (self.ids, self.last, self.response)
        )
        self.residuals = {h: [list(rows[p]) for p in parent.tolist()] for h, rows in self.residuals.items()}

    def of(self, hookpoint: Hookpoint, row: int) -> Tensor:
        return torch.stack(self.residuals[hookpoint][row])


def test_a_notebook_is_a_watch() -> None:
    assert isinstance(Notebook(), Watch)


def assert_same(notebook: Notebook, model: HookedModelBase, batch: TokenBatch, edits: Edits) -> None:
    """What was watched equals one teacher-forced pass over the same rows, token by token."""
    hookpoints = list(notebook.hookpoints)
    whole = model.run(batch, read=hookpoints, edits=edits).residuals
    for row in range(len(batch)):
        real = batch.mask[row]
        assert notebook.ids[row] == batch.ids[row][real].tolist()
        assert notebook.last[row] == batch.last_prompt[row][real].nonzero()[:, 0].tolist()
        assert notebook.response[row] == batch.response[row][real].nonzero()[:, 0].tolist()
        for hookpoint in hookpoints:
            torch.testing.assert_close(notebook.of(hookpoint, row), whole[hookpoint][row][real], **TOLERANCE)


def edits_of(kind: str) -> Edits:
    spans = {"none": [], "all": ["all"], "response": ["response"], "last": ["last"]}[kind]
    return {Hookpoint(1): tuple(Edit(shifting(i), span) for i, span in enumerate(spans))}  # pyright: ignore


@pytest.mark.parametrize("kind", ["none", "all", "response"])
def test_a_pass_is_watched_as_it_is_read(model: HookedModelBase, kind: str) -> None:
    notebook, batch = Notebook(), uneven_batch()
    model.run(batch, watch=notebook, edits=edits_of(kind))
    assert_same(notebook, model, batch, edits_of(kind))


def test_watching_changes_not_a_bit(model: HookedModelBase) -> None:
    blocks = [Hookpoint(layer) for layer in range(N_LAYERS)]
    seen, plain = (model.run(uneven_batch(), watch=watch).logits for watch in (Notebook(blocks), None))
    assert seen is not None and plain is not None
    assert torch.equal(seen, plain)


def test_a_pass_in_segments_is_watched_as_a_whole_one(model: HookedModelBase) -> None:
    head = words(12, 1)
    batch = token_batch([[*head, *words(1 + i // 2, 7)] for i in range(4)], [words(2 + i, i) for i in range(4)])
    notebook = Notebook()
    model.run(batch, outputs="token_logprobs", watch=notebook)
    assert_same(notebook, model, batch, {})


@pytest.mark.parametrize("kind", ["none", "all", "response", "last"])
def test_generation_is_watched_as_one_pass_over_its_answers(model: HookedModelBase, kind: str) -> None:
    """Samples, left padding, ended rows that leave the batch, and the last token of rows that reach the limit."""
    notebook, prompts = Notebook(), prompt_batch()
    made = model.generate(prompts, sampling=SAMPLED, edits=edits_of(kind), watch=notebook)
    assert made.ids == model.generate(prompts, sampling=SAMPLED, edits=edits_of(kind)).ids
    assert len(set(map(len, made.ids))) > 1, "rows must end at different times"
    rows = [ids[mask].tolist() for ids, mask in zip(prompts.ids, prompts.mask, strict=True) for _ in range(4)]
    assert_same(notebook, model, token_batch(rows, made.ids, pad_id=PAD), edits_of(kind))
    assert notebook.sizes[-1] < len(made.ids), "the batch was compacted"


def test_generation_from_a_prefix_tree_is_watched_too(llama_model: HookedModelBase) -> None:
    head = words(14, 1)
    prompts = [[*head, *words(3, 2)], words(5, 4), [*head, *words(2, 5)], [*head, *words(3, 2)]]
    prompts[1] = [*head, *words(6, 8)]
    batch, notebook = token_batch(prompts), Notebook()
    assert len(plan_prefill(batch)[0]) > 1, "the test needs a shared beginning"
    made = llama_model.generate(batch, sampling=SAMPLED, watch=notebook)
    rows = [prompt for prompt in prompts for _ in range(4)]
    assert_same(notebook, llama_model, token_batch(rows, made.ids), {})


def test_everything_inside_the_context_is_watched_and_nothing_after(llama_model: HookedModelBase) -> None:
    notebook = Notebook()
    parts = anatomy(llama_model)
    with llama_model.watched(notebook):
        llama_model.run(uneven_batch())
        assert_same(notebook, llama_model, uneven_batch(), {})  # one more run
        llama_model.generate(prompt_batch(), sampling=SAMPLED)
    assert notebook.calls == 3
    llama_model.run(uneven_batch())
    assert notebook.calls == 3
    assert anatomy(llama_model) == parts


class Failing(Notebook):
    def end(self) -> None:
        super().end()
        if len(self.sizes) == 3:
            raise Planned


@pytest.mark.parametrize("where", ["end", "observe"])
def test_an_exception_of_a_watch_ends_the_call_and_leaves_nothing(model: HookedModelBase, where: str) -> None:
    notebook, parts = Failing(), anatomy(model)
    if where == "observe":
        notebook.observe = lambda *_: (_ for _ in ()).throw(Planned())  # pyright: ignore
    with pytest.raises(Planned), model.watched(notebook):
        model.generate(prompt_batch(), sampling=SAMPLED)
    assert anatomy(model) == parts
    calls = notebook.calls
    model.run(uneven_batch())
    assert notebook.calls == calls


def test_a_watch_of_a_layer_that_does_not_exist_is_refused(llama_model: HookedModelBase) -> None:
    with pytest.raises(HookpointError, match=f"cannot reach resid_post at layer {N_LAYERS}"):
        llama_model.run(uneven_batch(), watch=Notebook([Hookpoint(N_LAYERS)]))
    with pytest.raises(HookpointError), llama_model.watched(Notebook([Hookpoint(N_LAYERS)])):
        raise AssertionError("the context is not entered")


@pytest.mark.parametrize("sampled", [False, True])
def test_generate_of_transformers_is_watched(tiny: Tiny, sampled: bool) -> None:
    """All but the last token of an answer that reached its limit, which transformers does not run."""
    prompts, notebook = prompt_batch(), Notebook()
    parts = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.plain.modules()]
    options = {"do_sample": True, "num_return_sequences": 6} if sampled else {"do_sample": False}
    torch.manual_seed(0)
    with watched_transformers(tiny.plain, notebook), torch.no_grad():
        made = tiny.plain.generate(  # pyright: ignore
            prompts.ids, attention_mask=prompts.mask.long(), max_new_tokens=8, pad_token_id=PAD, **options
        )
    width, copies = prompts.ids.shape[1], len(made) // len(prompts)
    ends = set(tiny.plain.generation_config.eos_token_id)
    answers = []
    for row in made[:, width:].tolist():
        end = next((i for i, token in enumerate(row) if token in ends), len(row) - 1)
        answers.append(row[:end])
    rows = [ids[mask].tolist() for ids, mask in zip(prompts.ids, prompts.mask, strict=True) for _ in range(copies)]
    assert not sampled or len(set(map(len, answers))) > 1
    assert_same(notebook, tiny.hooked("nnsight"), token_batch(rows, answers, pad_id=PAD), {})
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny.plain.modules()] == parts


def test_nothing_stays_on_a_model_of_transformers_after_an_exception(llama: Tiny) -> None:
    parts = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in llama.plain.modules()]
    with pytest.raises(Planned), watched_transformers(llama.plain, Failing()):
        llama.plain.generate(prompt_batch().ids, max_new_tokens=8, pad_token_id=PAD, eos_token_id=None)  # pyright: ignore
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in llama.plain.modules()] == parts
    with (
        pytest.raises(HookpointError, match="Layers run 0..2."),
        watched_transformers(llama.plain, Notebook([Hookpoint(N_LAYERS)])),
    ):
        pass
    assert inner_module(llama.hooked("nnsight")) is not llama.plain


def test_the_last_token_at_the_limit_is_watched(model: HookedModelBase) -> None:
    notebook, limit = Notebook(), Sampling(max_new_tokens=2, n_samples=3, seed=0)
    made = model.generate(prompt_batch(), sampling=limit, watch=notebook)
    assert not all(made.finished)
    assert [len(places) for places in notebook.response] == [len(ids) for ids in made.ids]
