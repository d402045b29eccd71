"""Models: folders that are damaged or hostile, GGUF files, adapters, objects in memory, devices, names."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from persona_interp.models.adapters import without_peft_noise
from persona_interp.models.load import load_model
from persona_interp.models.plain import load_plain
from tests.integration.inputs.row import Call, Command, Given, Row

Change = Callable[[Path], Any]
TEMPLATE, CONFIG, WEIGHTS = "chat_template.jinja", "config.json", "model.safetensors"
TOKENIZER, ITS_SETTINGS = "tokenizer.json", "tokenizer_config.json"
AWQ = {"quant_method": "awq", "bits": 4}
DEEP = "[" * 100_000
ENDLESS = "{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3
NO_PACKAGE = "its weights are quantised .{}., and their package is missing.\n  Install it: pip install {}"


def changed(given: Given, change: Change) -> Path:
    """A copy of the tiny model, changed."""
    folder = Path(shutil.copytree(given.model, given.tmp / "model"))
    change(folder)
    return folder


def folder_row(name: str, change: Change, says: str) -> Call:
    return Call(f"a folder: {name}", lambda given: load_plain(changed(given, change), device="cpu"), says=says)


def settings(file: str = CONFIG, **new: Any) -> Change:
    return lambda folder: (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | new))


def holds(file: str, content: str | bytes) -> Change:
    return lambda folder: (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)


def without(*files: str) -> Change:
    return lambda folder: [(folder / file).unlink() for file in files]


def is_folder(file: str) -> Change:
    return lambda folder: ((folder / file).unlink(), (folder / file).mkdir())


def leads_to_itself(file: str) -> Change:
    return lambda folder: ((folder / file).unlink(), (folder / file).symlink_to(folder / file))


def indexed(part: object) -> Change:
    index = json.dumps({"weight_map": {"lm_head.weight": part}})
    return lambda folder: (without(WEIGHTS)(folder), holds(f"{WEIGHTS}.index.json", index)(folder))


def quantised(method: str, package: str, **more: Any) -> Call:
    change = settings(quantization_config={"quant_method": method, **more})
    return folder_row(f"quantised by {method}", change, NO_PACKAGE.format(method, package))


def gguf(name: str, content: bytes, says: str) -> Call:
    def load(given: Given) -> Any:
        (given.tmp / "story.gguf").write_bytes(content)
        return load_model(given.tmp / "story.gguf")

    return Call(f"a GGUF file: {name}", load, says=says)


def header(n_tensors: int = 0, n_fields: int = 0, body: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_fields) + body


def text(content: str) -> bytes:
    return struct.pack("<Q", len(content)) + content.encode()


def field(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text("t") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def adapter(given: Given, change: Change = lambda _: None, **options: Any) -> Path:
    """A folder with a LoRA of the tiny model, changed."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(**{"task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"], **options})
    with without_peft_noise():
        made = get_peft_model(AutoModelForCausalLM.from_pretrained(given.model), config)
        made.save_pretrained(str(given.tmp / "adapter"))
    change(given.tmp / "adapter")
    return given.tmp / "adapter"


def adapter_row(name: str, change: Change, says: str) -> Call:
    return Call(f"an adapter: {name}", lambda given: load_plain(adapter(given, change), device="cpu"), says=says)


def project(name: str, change: Change | None, says: str, model: str = "{tmp}/model") -> Command:
    """A command that loads a model."""
    argv = ("project", "Hi.", "--vector", "{vector}", "--layer", "1", "--model", model)
    return Command(name, argv, 1, says, make=None if change is None else lambda given: changed(given, change))


def parts(model: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)


def logits_by_both_routes(given: Given) -> float:
    """How far the logits of an adapter's two routes lie apart; its B is zero, so they are those of the base too."""
    from persona_interp.models.selfcheck import check_batch

    folder = adapter(given)
    models = [load_model(folder, "nnsight", device="cpu"), load_model(given.model, "nnsight", adapter=folder)]
    one, other = (model.run(check_batch(model.tokenizer)).logits for model in models)
    assert one is not None and other is not None and models[0].name == models[1].name
    return float((one - other).abs().max())


def weights_in_memory(given: Given) -> bool:
    model, tokenizer = parts(given.model)
    loaded = load_model(model, "nnsight", tokenizer=tokenizer)
    return loaded.provenance.weights == load_model(given.model, "nnsight", device="cpu").provenance.weights


def overflowing(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    weights["model.layers.0.mlp.down_proj.weight"] *= 6e4
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


FOLDERS = (
    folder_row("no layers", settings(num_hidden_layers=0), "says it has 0 layers.\n  Expected .* from 1 to 1000"),
    folder_row("fewer layers than none", settings(num_hidden_layers=-1), "says it has -1 layers"),
    folder_row("a thousand million layers", settings(num_hidden_layers=10**9), "says it has 1000000000 layers"),
    folder_row("layers as a text", settings(num_hidden_layers="three"), "num_hidden_layers' expected int, got str"),
    folder_row("layers that are null", settings(num_hidden_layers=None), "num_hidden_layers' expected int, got None"),
    folder_row("one layer more", settings(num_hidden_layers=4), "9 of its weights are not in its files"),
    folder_row("no width", settings(hidden_size=0), "says hidden_size = 0"),
    folder_row("a width below zero", settings(hidden_size=-32), "says hidden_size = -32"),
    folder_row("a width that its files do not hold", settings(hidden_size=10**7), "at least 2000000000 weights, more"),
    folder_row("a width of twice as much", settings(hidden_size=64), "has the shape .* in its files and .* by its con"),
    folder_row("a vocabulary without end", settings(vocab_size=10**15), "says vocab_size = 1000000000000000"),
    folder_row("a vocabulary of ten million", settings(vocab_size=10**7), "at least 320000000 weights, more than its"),
    folder_row("no heads", settings(num_attention_heads=0), "cannot load"),
    folder_row("three heads", settings(num_attention_heads=3), "not a multiple of the number of attention heads"),
    folder_row("an MLP without end", settings(intermediate_size=10**12), "says intermediate_size = 1000000000000"),
    folder_row("settings that are a list", holds(CONFIG, "[1]"), "Unrecognized model"),
    folder_row("settings that are a number", holds(CONFIG, "3"), "cannot load"),
    folder_row("settings that are null", holds(CONFIG, "null"), "cannot load"),
    folder_row("settings 100,000 deep", holds(CONFIG, DEEP), "maximum recursion depth"),
    folder_row("empty settings", holds(CONFIG, ""), "not a valid JSON file"),
    folder_row("settings in another encoding", holds(CONFIG, b"\xff\xfe\x00"), "not a valid JSON file"),
    folder_row("settings of 16 MB", holds(CONFIG, " " * (2**24 + 1)), "config.json has 16777217 bytes"),
    folder_row("settings that are a folder", is_folder(CONFIG), "config.json is no file"),
    folder_row("settings that lead to themselves", leads_to_itself(CONFIG), "config.json is no file"),
    folder_row("an unknown architecture", settings(model_type="nothing"), "model type `nothing`"),
    folder_row("an encoder and decoder", settings(model_type="t5"), "for this kind of AutoModel"),
    folder_row(
        "code of its own",
        settings(auto_map={"AutoConfig": "own.Config"}, model_type="own"),
        "contains custom code which must be executed",
    ),
    folder_row("an unknown dtype", settings(dtype="float3"), "no attribute 'float3'"),
    folder_row("a template that does not end", holds(TEMPLATE, ENDLESS), "does not end within 3 s"),
    folder_row("a template with a long range", holds(TEMPLATE, "{% for i in range(10**9) %}{% endfor %}"), "Range too"),
    folder_row("a template of 5 MB", holds(TEMPLATE, "x" * 5_000_000), "its chat template has 5000000 characters"),
    folder_row("a template that divides by zero", holds(TEMPLATE, "{{ 1/0 }}"), "its chat template fails: ZeroDiv"),
    folder_row("a template cut off", holds(TEMPLATE, "{% for"), "its chat template is damaged: unexpected"),
    folder_row("a template that adds words to turns", holds(TEMPLATE, "{{ messages + 1 }}"), "template fails: TypeErr"),
    folder_row("a template that looks around", holds(TEMPLATE, "{{ ''.__class__.__mro__ }}"), "attribute '__class__'"),
    folder_row(
        "a template that calls itself",
        holds(TEMPLATE, "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
        "its chat template fails: RecursionError",
    ),
    folder_row("a template that is a number", settings(ITS_SETTINGS, chat_template=3), "its chat template fails"),
    folder_row("no tokenizer", without(TOKENIZER, ITS_SETTINGS), "Couldn't instantiate the backend tokenizer"),
    folder_row("a tokenizer that is a folder", is_folder(TOKENIZER), "Couldn't instantiate the backend tokenizer"),
    folder_row("a tokenizer that leads to itself", leads_to_itself(TOKENIZER), "Couldn't instantiate the backend"),
    folder_row("a tokenizer 100,000 deep", holds(TOKENIZER, DEEP), "maximum recursion depth"),
    folder_row("a tokenizer without words", holds(TOKENIZER, "{}"), "cannot load"),
    folder_row("settings of a tokenizer in a list", holds(ITS_SETTINGS, "[]"), "cannot load"),
    folder_row("settings of answers in a list", holds("generation_config.json", "[]"), "cannot load"),
    folder_row("weights that are a folder", is_folder(WEIGHTS), "no file named model.safetensors"),
    folder_row("weights that lead to themselves", leads_to_itself(WEIGHTS), "no file named model.safetensors"),
    folder_row("empty weights", holds(WEIGHTS, ""), "header too small"),
    folder_row("weights cut off", lambda f: holds(WEIGHTS, (f / WEIGHTS).read_bytes()[:9000])(f), "cannot load"),
    folder_row("weights that claim 2^60 bytes", holds(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"), "The files are cut"),
    folder_row("an index that leads out of the folder", indexed("../../../etc/passwd"), "cannot load"),
    folder_row("an index that leads to a device", indexed("/dev/zero"), "The files are cut off"),
    folder_row("an index that is a list", indexed([]), "does not say which files hold the weights: it is damaged"),
    folder_row("nothing in it", without(CONFIG, WEIGHTS, TOKENIZER, ITS_SETTINGS), "config.json is no file"),
    quantised("bitsandbytes", "bitsandbytes", load_in_4bit=True),
    quantised("awq", "gptqmodel", bits=4, group_size=128, zero_point=True),
    quantised("gptq", "optimum gptqmodel", bits=4),
    quantised("compressed-tensors", "compressed-tensors", format="pack-quantized", config_groups={}),
    quantised("hqq", "hqq", quant_config={"weight_quant_params": {"nbits": 4, "group_size": 64}}),
    quantised("torchao", "torchao", quant_type="int4_weight_only"),
    quantised("quanto", "optimum-quanto", weights="int8"),
    folder_row(
        "quantised in no known way", settings(quantization_config={"quant_method": "o"}), "unknown to transformers"
    ),
    folder_row("quantised without a word how", settings(quantization_config={}), "no `quant_method` attribute"),
)
GGUFS = (
    Call("a GGUF file: none", lambda given: load_model(given.tmp / "no.gguf"), says="no.gguf does not exist"),
    gguf("a story", b"once upon a time", "story.gguf: it has 16 bytes, and the shortest header has 24"),
    gguf("empty", b"", "it has 0 bytes, and the shortest header has 24"),
    gguf("cut off in its counts", header()[:12], "it has 12 bytes"),
    gguf("of another version", header(version=77), "its version is 77, expected 2 or 3"),
    gguf("2^40 tensors", header(n_tensors=2**40), "1,099,511,627,776 tensors cannot be in a file of 24 bytes"),
    gguf("2^63 fields", header(n_fields=2**63), "9,223,372,036,854,775,808 keys cannot be in a file of 24 bytes"),
    gguf(
        "a name of 2^40 bytes",
        header(n_fields=1, body=struct.pack("<QQ", 2**40, 0)),
        "a key must have 1,099,511,627,776 bytes, and 8 are left",
    ),
    gguf(
        "an array of 2^40 entries",
        header(n_fields=1, body=field("tokens", 9, struct.pack("<IQ", 8, 2**40))),
        "the array 'tokens' must have 1,099,511,627,776 entries",
    ),
    gguf(
        "an array of -1 entries",
        header(n_fields=1, body=field("tokens", 9, struct.pack("<Iq", 0, -1))),
        "the array 'tokens' must have 18,446,744,073,709,551,615 entries",
    ),
    gguf(
        "arrays in arrays in arrays",
        header(n_fields=1, body=field("a", 9, struct.pack("<IQ", 9, 1) * 4 + bytes(40))),
        "the array 'a' holds values of the kind 9, which",
    ),
    gguf(
        "a field of no type",
        header(n_fields=1, body=field("a", 99, bytes(8))),
        "'a' is of the kind 99, which GGUF does not have",
    ),
    gguf(
        "a name that is no text",
        header(n_fields=1, body=struct.pack("<Q", 1) + b"\xff" * 20),
        "a key is no text in UTF-8",
    ),
    gguf("a tensor of 2^80 values", header(1, 0, tensor((2**40, 2**40))), "the tensor 't' must end at byte"),
    gguf("a tensor beyond its end", header(1, 0, tensor((4,), offset=2**50)), "the tensor 't' must end at byte"),
    gguf("a tensor of no type", header(1, 0, tensor((4,), kind=250)), "the tensor 't' is of the type 250"),
    gguf(
        "a tensor of 2^31 dimensions",
        header(1, 0, text("t") + struct.pack("<I", 2**31) + bytes(20)),
        "2,147,483,648 axes, expected 1 to 4",
    ),
    gguf(
        "an alignment of three",
        header(0, 1, field("general.alignment", 4, struct.pack("<I", 3))),
        "its alignment is 3, expected a power of two",
    ),
    gguf(
        "more blocks than tensors",
        header(0, 1, field("llama.block_count", 4, struct.pack("<I", 2**31))),
        "it says llama.block_count = 2147483648",
    ),
    gguf("nothing but a header", header(), "transformers cannot read the GGUF file of story.gguf"),
)
ADAPTERS = (
    Call("an adapter: by its name and beside its base", logits_by_both_routes, lambda apart: apart == 0),
    adapter_row("without weights", without("adapter_model.safetensors"), "adapter_model.safetensors is not there"),
    adapter_row("cut off", holds("adapter_model.safetensors", b"12345678{"), "does not fit this model"),
    adapter_row("settings that are a list", holds("adapter_config.json", "[]"), "adapter_config.json cannot be read"),
    adapter_row("settings 100,000 deep", holds("adapter_config.json", DEEP), "adapter_config.json cannot be read"),
    adapter_row("no base", settings("adapter_config.json", base_model_name_or_path=None), "does not say which model"),
    adapter_row(
        "a base that is nowhere",
        settings("adapter_config.json", base_model_name_or_path="/no/where"),
        "was trained on '/no/where', which cannot be loaded",
    ),
    adapter_row("an unknown kind", settings("adapter_config.json", peft_type="NOTHING"), "does not fit this model"),
    adapter_row("a rank of no number", settings("adapter_config.json", r="four"), "does not fit this model"),
    adapter_row("another rank", settings("adapter_config.json", r=3), "does not fit this model: .*size mismatch"),
    adapter_row("other modules", settings("adapter_config.json", target_modules=["no"]), "does not fit this model"),
    Call("an adapter: a file", lambda given: load_plain(given.model / CONFIG), says="it is a file, and no GGUF file"),
    Call(
        "an adapter: a folder that is none",
        lambda given: load_model(given.model, adapter=given.tmp),
        says="holds no adapter: adapter_config.json is not there",
    ),
    Call(
        "an adapter: on the hub, without network",
        lambda given: load_model(given.model, adapter="no/such-adapter"),
        says="cannot load the adapter 'no/such-adapter': it is not in the hub's cache",
    ),
)
OTHERS = (
    Call("in memory: the fingerprint of its folder", weights_in_memory, True),
    Call(
        "in memory: no tokenizer", lambda given: load_model(parts(given.model)[0]), says="needs its tokenizer, got None"
    ),
    Call("in memory: a linear map", lambda _: load_model(torch.nn.Linear(1, 1)), says="an object of type Linear"),
    Call("in memory: a number", lambda _: load_model(3), says="cannot load an object of type int"),
    Call(
        "in memory: an adapter beside it",
        lambda given: load_model(parts(given.model)[0], adapter=given.tmp, tokenizer=parts(given.model)[1]),
        says="adapter cannot be applied to a LlamaForCausalLM object",
    ),
    Call(
        "float16 that overflows",
        lambda given: load_model(changed(given, overflowing), device="cpu", dtype="float16"),
        says="computes no finite numbers in float16: .*\n  .* Load it in bfloat16 or float32",
    ),
    Call(
        "float32 that does not",
        lambda given: load_model(changed(given, overflowing), "nnsight", device="cpu").provenance.dtype,
        "float32",
    ),
    Call("a device that is not there", lambda given: load_model(given.model, device="gpu7"), says="the device 'gpu7'"),
    Call("a map to no device", lambda given: load_model(given.model, device_map={"": "x"}), says="the device 'x' cann"),
    Call("no such dtype", lambda given: load_model(given.model, dtype="int3"), says="no dtype is called 'int3'"),
    Call("a name with a zero in it", lambda _: load_model("a\0b"), says="it is no name of the hub"),
    Call("a name of a million letters", lambda _: load_model("a" * 10**6), says="it is no name of the hub"),
    Call("an empty name", lambda _: load_model(""), says="cannot load"),
    Call("a path that is not there", lambda _: load_model("./no/such/folder"), says="nothing on this machine has that"),
    Call("a name of nobody's home", lambda _: load_model("~nobody-at-all/model"), says="cannot load"),
    Call("a name that is not cached", lambda _: load_model("no/such-model"), says="not in the hub's cache here"),
    project("a model of no layers", settings(num_hidden_layers=0), "says it has 0 layers"),
    project("a model quantised by awq", settings(quantization_config=AWQ), "pip install gptqmodel"),
    project("a model of a long template", holds(TEMPLATE, "x" * 2_000_000), "template has 2000000 characters"),
    project("a model that is nowhere", None, "the hub cannot be reached: HF_HUB_OFFLINE is set", "no/such-model"),
    Call(
        "an epsilon that is no number",
        lambda given: load_model(changed(given, settings(rms_norm_eps=float("nan"))), device="cpu"),
        says="computes no finite numbers in float32: .*\n  Its weights are damaged",
    ),
)
ROWS: tuple[Row, ...] = (*FOLDERS, *GGUFS, *ADAPTERS, *OTHERS)
