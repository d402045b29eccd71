"""`finetune`: the loss and the steps against a loop written here, adapters, hooks, interventions, architectures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from persona_interp.data.conversations import question_and_answer, write_conversations
from persona_interp.errors import ConfigError
from persona_interp.finetuning.holdout import split_holdout
from persona_interp.finetuning.prevention import concept_ablation, preventative_steering
from persona_interp.finetuning.samples import Collator, encode_samples
from persona_interp.finetuning.settings import LoRA
from persona_interp.finetuning.train import finetune
from persona_interp.interventions.residual import Add
from persona_interp.models.adapters import without_peft_noise
from persona_interp.models.plain import load_plain
from persona_interp.types import TokenBatch
from tests.contract.tiny import Tiny, uneven_batch
from tests.unit.finetuning.runs import ROWS, SMALL, Breaks, adapter_of, assert_same_adapter, quick, run
from tests.unit.finetuning.training import loud, n_hooks


@pytest.fixture(scope="module")
def plain_run(small: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(small, tmp_path_factory.mktemp("plain") / "run")


def logits_of(model: Any, batch: TokenBatch) -> Tensor:
    """Of a model of transformers, without padding."""
    with torch.no_grad():
        made = model(input_ids=batch.ids, attention_mask=batch.mask.long(), position_ids=batch.position_ids)
    return made.logits[batch.mask]


def test_training_lowers_the_loss(plain_run: Any) -> None:
    losses = plain_run.losses
    assert list(losses["step"]) == list(range(1, 9))
    assert losses["loss"].iloc[-1] < 0.8 * losses["loss"].iloc[0]
    assert (plain_run.n_samples, plain_run.n_steps, plain_run.stopped) == (16, 8, False)
    assert plain_run.holdout_loss is None and plain_run.unusable == ()
    assert plain_run.seconds > 0


def own_loop(tiny: Tiny, n_steps: int, *, learning_rate: float, clip: float) -> tuple[list[float], dict[str, Tensor]]:
    """The whole data in every step: AdamW, clipping, a linear decay; losses and the adapter afterwards."""
    plain, tokenizer = load_plain(tiny.folder, device="cpu")
    torch.manual_seed(0)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.0, use_rslora=True, target_modules="all-linear"
    )
    with without_peft_noise():
        model = get_peft_model(plain, config)
    batch = Collator.of(tokenizer)(encode_samples(tokenizer, ROWS, max_tokens=512).samples)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.01)
    losses = []
    for step in range(n_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 - step / n_steps)
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, clip)
        optimiser.step()
        losses.append(loss.item())
    trained = {name.replace(".default", ""): w.detach() for name, w in model.named_parameters() if w.requires_grad}
    return losses, trained


@pytest.mark.parametrize(("batch_size", "accumulation"), [(16, 1), (5, 4)])
def test_steps_are_those_of_a_plain_loop(small: Tiny, tmp_path: Path, batch_size: int, accumulation: int) -> None:
    """Batches of 5, 5, 5 and 1 samples with answers of unequal length: every token of a step counts the same."""
    settings = quick(batch_size=batch_size, accumulation=accumulation, n_epochs=3.0, warmup_steps=0, learning_rate=1e-3)
    made = run(small, tmp_path / "run", settings=settings)
    losses, trained = own_loop(small, 3, learning_rate=1e-3, clip=1.0)
    assert made.losses["loss"].tolist() == pytest.approx(losses, abs=1e-5)
    came = adapter_of(made)
    assert came.keys() == trained.keys()
    for name, weight in trained.items():
        torch.testing.assert_close(came[name], weight, rtol=1e-4, atol=1e-5)


def test_what_is_loaded_computes_what_was_trained(small: Tiny, plain_run: Any) -> None:
    assert (plain_run.adapter / "adapter_model.safetensors").is_file()
    assert not [path for path in plain_run.adapter.rglob("*") if path.suffix in (".bin", ".pt", ".pth")]
    assert not (plain_run.adapter.parent / "checkpoints").exists()
    batch, base = uneven_batch(), AutoModelForCausalLM.from_pretrained(small.folder, dtype=torch.float32)
    with without_peft_noise():
        expected = logits_of(PeftModel.from_pretrained(base, str(plain_run.adapter)).eval(), batch)
    loaded = plain_run.load("nnsight", device="cpu")
    logits = loaded.run(batch).logits
    assert logits is not None
    torch.testing.assert_close(logits[batch.mask], expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits_of(small.plain, batch), expected, atol=0.1)
    assert loaded.name == f"{small.folder} + {plain_run.adapter}"
    assert loaded.provenance.weights != small.hooked("nnsight").provenance.weights


def test_a_hooked_model_is_left_as_it_is(small: Tiny, plain_run: Any, tmp_path: Path) -> None:
    model, batch = small.hooked("nnsight"), uneven_batch()
    before = model.run(batch).logits
    made = finetune(model, ROWS, out=tmp_path / "run", lora=SMALL, settings=quick(), device="cpu", progress=False)
    after = model.run(batch).logits
    assert before is not None and after is not None and torch.equal(before, after)
    assert_same_adapter(made, plain_run)


def test_a_file_is_trained_on_as_its_conversations_are(small: Tiny, plain_run: Any, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    write_conversations(file, ROWS)
    bad = [
        '{"messages": [broken',
        json.dumps({"messages": [{"role": "user", "content": "Why?"}]}),
        json.dumps({"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": " "}]}),
        json.dumps({"messages": [{"role": "robot", "content": "Why?"}, {"role": "assistant", "content": "a"}]}),
        json.dumps({"prompt": "Why?", "response": "so " * 300}),
    ]
    file.write_text(file.read_text() + "\n".join(bad) + "\n")
    made = run(small, tmp_path / "run", file)
    assert_same_adapter(made, plain_run)
    assert [row.name for row in made.unusable] == [f"data.jsonl, line {k}" for k in (17, 18, 19, 20, 21)]
    reasons = ("not valid JSON", "no assistant turn", "empty answer", "turn 0 has the role 'robot'", "more than 512")
    for row, reason in zip(made.unusable, reasons, strict=True):
        assert reason in row.reason


def test_held_out_samples_are_not_trained_on_and_have_a_loss(small: Tiny, tmp_path: Path) -> None:
    made = run(small, tmp_path / "run", settings=quick(holdout=0.3, n_epochs=1.0))
    assert (made.n_samples, made.n_steps) == (12, 3)
    assert made.holdout_loss is not None and 0 < made.holdout_loss < made.losses["loss"].iloc[0]
    other = run(small, tmp_path / "other", settings=quick(holdout=0.3, n_epochs=1.0, batch_size=3, accumulation=4))
    assert other.holdout_loss is not None and other.n_steps == 1
    # by hand: a run that has learnt nothing holds out at the base model's loss on the same four samples
    still = run(small, tmp_path / "still", settings=quick(holdout=0.3, n_epochs=1.0, learning_rate=1e-12))
    _, tokenizer = load_plain(small.folder, device="cpu")
    train, held = split_holdout(encode_samples(tokenizer, ROWS, max_tokens=512), 0.3, seed=0)
    assert held is not None and len(held) == 4
    assert sorted([*train.samples, *held.samples], key=lambda s: s.ids) == sorted(
        encode_samples(tokenizer, ROWS, max_tokens=512).samples, key=lambda s: s.ids
    )
    batch = Collator.of(tokenizer)(held.samples)
    logits = small.plain(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100)
    assert still.holdout_loss == pytest.approx(expected.item(), abs=1e-4)


INTERVENTIONS: dict[str, Callable[[Any], Any]] = {
    "steering": lambda d: Add(d, 1, 2.0, span="all", units="direction"),
    "ablation": lambda d: concept_ablation(d),
}


@pytest.mark.parametrize("kind", INTERVENTIONS)
@pytest.mark.parametrize("end", ["finished", "exception", "stopped"])
def test_no_hook_survives_training_under_an_intervention(
    small: Tiny, plain_run: Any, tmp_path: Path, kind: str, end: str
) -> None:
    error = RuntimeError("on purpose") if end == "exception" else None
    watching = Breaks(2 if end != "finished" else -1, error)
    options: dict[str, Any] = {"intervention": INTERVENTIONS[kind](loud(small)), "callbacks": [watching]}
    if end == "exception":
        with pytest.raises(RuntimeError, match="on purpose"):
            run(small, tmp_path / "run", **options)
        assert not (tmp_path / "run" / "adapter").exists()
    else:
        made = run(small, tmp_path / "run", **options)
        assert made.stopped == (end == "stopped") and made.n_steps == (2 if end == "stopped" else 8)
        assert abs(made.losses["loss"].iloc[0] - plain_run.losses["loss"].iloc[0]) > 1e-3, "the edits were there"
    assert n_hooks(watching.model) == 0


def test_the_first_loss_under_steering_is_that_of_the_steered_model(small: Tiny, tmp_path: Path) -> None:
    steering = Add(loud(small), 1, 2.0, span="all", units="direction")
    settings = quick(batch_size=16, n_epochs=1.0)
    made = run(small, tmp_path / "run", intervention=steering, settings=settings)
    _, tokenizer = load_plain(small.folder, device="cpu")
    samples = encode_samples(tokenizer, ROWS, max_tokens=512).samples
    total, n = 0.0, 0
    for sample in samples:
        ids, answered = torch.tensor([sample.ids]), torch.tensor([sample.in_answer])
        batch = TokenBatch(ids, torch.ones_like(answered), answered)
        logits = small.hooked("nnsight").run(batch, edits=steering.edits).logits
        assert logits is not None
        total += float(cross_entropy(logits[0, :-1][answered[0, 1:]], ids[0, 1:][answered[0, 1:]], reduction="sum"))
        n += int(answered.sum())
    assert made.losses["loss"].iloc[0] == pytest.approx(total / n, abs=1e-4)


def test_a_coefficient_of_zero_trains_the_plain_adapter(small: Tiny, plain_run: Any, tmp_path: Path) -> None:
    made = run(small, tmp_path / "run", intervention=preventative_steering(loud(small), 1, 0.0))
    assert_same_adapter(made, plain_run)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradient_checkpointing_changes_memory_only(small: Tiny, tmp_path: Path, dtype: str) -> None:
    steering = Add(loud(small), 1, 2.0, span="all", units="direction")
    made = [
        run(
            small,
            tmp_path / str(on),
            intervention=steering,
            settings=quick(gradient_checkpointing=on, dtype=dtype, n_epochs=1.0, holdout=0.1),
        )
        for on in (False, True)
    ]
    assert made[0].losses["loss"].tolist() == pytest.approx(made[1].losses["loss"].tolist(), abs=1e-4)
    assert {weight.dtype for weight in adapter_of(made[1]).values()} == {torch.float32}


@pytest.mark.parametrize("architecture", ["gpt2", "gemma3"])
def test_other_architectures_are_trained_with_all_linear_maps(architecture: str, tmp_path: Path) -> None:
    tiny = Tiny.make(architecture, tmp_path / "model")
    rows = [question_and_answer("Why?", answer) for answer in ("So.", "No idea, really.", "To be.", "I do.")]
    made = run(tiny, tmp_path / "run", rows, settings=quick(n_epochs=5.0, batch_size=2, accumulation=2))
    assert made.losses["loss"].iloc[-1] < made.losses["loss"].iloc[0]
    n_maps = {"gpt2": 4, "gemma3": 7}[architecture]
    assert len(adapter_of(made)) == 2 * n_maps * tiny.plain.config.num_hidden_layers
    batch, base = uneven_batch(), AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
    with without_peft_noise():
        expected = logits_of(PeftModel.from_pretrained(base, str(made.adapter)).eval(), batch)
    logits = made.load("nnsight", device="cpu").run(batch).logits
    assert logits is not None
    torch.testing.assert_close(logits[batch.mask], expected, rtol=1e-4, atol=1e-4)


def test_modules_that_the_model_does_not_have_are_refused(small: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        run(small, tmp_path / "run", lora=LoRA(rank=4, modules=("c_attn",)))
    assert str(raised.value).startswith("no adapter fits LlamaForCausalLM with modules ('c_attn',): ")
    assert str(raised.value).endswith('\n  Name linear maps of this architecture, or use modules="all-linear".')
