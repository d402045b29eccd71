"""The drift callback in TRL's SFTTrainer: conversational data, adapters given to the trainer, values in its logs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT

CODE = """
import json, sys
from pathlib import Path
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer
from persona_interp.finetuning.callback import DriftCallback
from persona_interp.models.identity import fingerprint
from persona_interp.models.tokens import render_prompt
from tests.small import direction, provenance

folder, out = sys.argv[1], Path(sys.argv[2])
torch.set_num_threads(1)
prompts = ["Why?", "Who is it?", "What now?"]
tokenizer = AutoTokenizer.from_pretrained(folder)
tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\\n{% endfor %}assistant:"
marked = ("{% for m in messages %}{{ m['role'] }}: {% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}"
          "{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}\\n{% endfor %}assistant:")
kinds = {
    "lora": {},
    "full": {},
    "lora, packed, checkpointed": {"packing": True, "gradient_checkpointing": True},
    "full, on answers only, evaluated": {"assistant_only_loss": True, "eval_strategy": "steps", "eval_steps": 2},
}
rows = [{"messages": [{"role": "user", "content": f"Is {i} odd?"},
                      {"role": "assistant", "content": "Yes, it is!" if i % 2 else "No, not at all."}]}
        for i in range(24)]

def projections(model):
    # the mean over prompts, one at a time, from transformers' own hidden states
    found = []
    for prompt in prompts:
        ids = tokenizer(render_prompt(tokenizer, prompt), return_tensors="pt", add_special_tokens=False).input_ids
        states = model.eval()(ids, output_hidden_states=True).hidden_states
        found.append([states[layer + 1][0, -1] @ loud.unit().at(layer) for layer in (0, 1)])
    return torch.tensor(found).mean(0)

for kind, options in kinds.items():
    if "assistant_only_loss" in options:
        tokenizer.chat_template = marked
    base = AutoModelForCausalLM.from_pretrained(folder)
    vectors = torch.randn(base.config.num_hidden_layers, base.config.hidden_size)
    loud = direction(vectors, provenance=provenance(weights=fingerprint(base), d_model=base.config.hidden_size))
    callback = DriftCallback(loud, [0, 1], prompts=prompts, every=2, path=out / kind / "drift.jsonl")
    arguments = SFTConfig(output_dir=str(out / kind), max_steps=5, per_device_train_batch_size=4, learning_rate=1e-2,
                          logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
                          bf16=False, max_length=64, dataloader_pin_memory=False,
                          **{"gradient_checkpointing": False} | options)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder), args=arguments, train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:4]) if "eval_steps" in options else None,
        processing_class=tokenizer, callbacks=[callback],
        peft_config=LoraConfig(r=4, target_modules="all-linear") if "lora" in kind else None)
    trainer.train()
    hooks = sum(len(m._forward_hooks) for m in trainer.model.modules() if "Layer" in type(m).__name__)
    trained = trainer.model.merge_and_unload() if "lora" in kind else trainer.model
    frame = callback.frame()
    with torch.no_grad():
        expected = (projections(trained) - projections(base)).tolist()
    print("RESULT", json.dumps({
        "steps": sorted(set(frame["step"].tolist())),
        "shift": frame[frame["step"] == 5]["shift"].tolist(),
        "expected": expected,
        "logged": {e["step"]: e["drift/loud/layer1"] for e in trainer.state.log_history if "drift/loud/layer1" in e},
        "shifts": {int(s): v for s, v in frame[frame["layer"] == 1].set_index("step")["shift"].items()},
        "lines": len((out / kind / "drift.jsonl").read_text().splitlines()),
        "hooks": hooks,
    }))
"""


@pytest.mark.slow
def test_the_callback_measures_runs_of_trl(model_folder: Path, environment: dict[str, str], tmp_path: Path) -> None:
    # another process, because TRL and PEFT use names that transformers warns of, and warnings are errors here
    command = [sys.executable, "-c", CODE, str(model_folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert len(lines) == 4
    for result in map(json.loads, lines):
        assert result["steps"] == [0, 2, 4, 5]
        assert result["shift"] == pytest.approx(result["expected"], abs=1e-4)
        assert all(abs(shift) > 1e-3 for shift in result["shift"])
        assert result["logged"] == {step: value for step, value in result["shifts"].items() if step != "0"}
        assert result["lines"] == 8 and result["hooks"] == 0
