"""Options of the command line: one spelling, choices, numbers, files that are not there."""

import os

from tests.integration.inputs.row import Command, Given, Row

USE = ("--model", "{model}", "--dtype", "float32")
STEER = ("steer", "{vector}", "-p", "Hi", "--layer", "1", "--max-new-tokens", "2", *USE)
RUN = ("run", "--out", "{tmp}/o", "--model", "{model}", "--trait", "{trait}")
EXTRACT = ("extract", "{trait}", "--out", "{tmp}/o", "--model", "{model}")
SCREEN = ("screen", "{tmp}/d.jsonl", "-v", "{vector}", "--out", "{tmp}/o", "--model", "{model}")
FINETUNE = ("finetune", "{tmp}/d.jsonl", "--out", "{tmp}/o", "--model", "{model}")
SAE = ("sae", "--out", "{tmp}/o", "--model", "{model}")
LINE = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
SEEDED = {
    "run": RUN,
    "extract": EXTRACT,
    "steer": STEER,
    "finetune": FINETUNE,
    "levels": ("levels", "{trait}", "--out", "{tmp}/o"),
    "styles": ("styles", "emotion", "--out", "{tmp}/o"),
    "sae": SAE,
    "inventory": ("inventory", "big_five_50", "--out", "{tmp}/o"),
    "psychadapter train": ("psychadapter", "train", "--estimated", "--out", "{tmp}/o"),
    "psychadapter measure": ("psychadapter", "measure", "{tmp}/a", "{tmp}/d.csv", "--out", "{tmp}/o"),
    "traits new": ("traits", "new", "rude", "--description", "x", "--out", "{tmp}/o"),
}
AT_LEAST = {
    ("--n-questions", "0"): (RUN, EXTRACT),
    ("--n-samples", "-3"): (RUN, EXTRACT),
    ("--max-new-tokens", "0"): (RUN, EXTRACT, STEER, SCREEN),
    ("--n-eval-questions", "0"): (RUN,),
    ("--n-eval-samples", "0"): (RUN,),
    ("--n-judge-pairs", "0"): (RUN,),
    ("--batch-rows", "0"): (SCREEN,),
    ("--n-latents", "0"): (SAE,),
    ("--k", "0"): (SAE,),
    ("--batch-tokens", "0"): (SAE,),
    ("--batch-size", "0"): (FINETUNE,),
    ("--rank", "0"): (FINETUNE,),
    ("--layer", "-1"): (STEER, FINETUNE),
    ("--epochs", "-1"): (FINETUNE,),
    ("--holdout", "-0.1"): (FINETUNE,),
    ("--learning-rate", "-1"): (FINETUNE,),
    ("--weight", "-1"): (FINETUNE,),
    ("--percentile", "-1"): (SCREEN,),
    ("--temperature", "-1"): (STEER,),
}
TOO_MUCH = {
    ("--n-samples", "10000000"): EXTRACT,
    ("--n-questions", "99999999999999999999"): EXTRACT,
    ("--max-new-tokens", "9" * 30): STEER,
    ("--rank", "100000000"): FINETUNE,
    ("--batch-size", "1000000001"): FINETUNE,
    ("--batch-rows", "1000000001"): SCREEN,
}
CHOICES = {
    ("--backend", "vllm"): (RUN, "'vllm' is not one of 'transformer_lens', 'nnsight'"),
    ("--dtype", "int4"): (EXTRACT, "'int4' is not one of 'auto', 'float32', 'bfloat16', 'float16'"),
    ("--filter", "best"): (EXTRACT, "'best' is not one of 'paired', 'independent', 'none'"),
    ("--extra-judges-on", "most"): (RUN, "'most' is not one of 'chosen', 'all'"),
    ("--architecture", "dense"): (SAE, "'dense' is not one of 'batchtopk', 'topk', 'gated', 'jumprelu'"),
    ("--preset", "huge"): (FINETUNE, "'huge' is not one of 'small', 'paper'"),
    ("--delta", "some"): (SCREEN, "'some' is not one of 'prompt', 'generate', 'none'"),
    ("--engine", "spark"): (SCREEN, "'spark' is not one of 'local', 'ray'"),
    ("--rank-by", "age"): (SCREEN, "'age' is not one of"),
    ("--judge", "me"): (SCREEN, "'me' is not one of 'embedding'"),
}
LISTS = {
    "": "--{0} (must be|has an empty value)",
    "1,,2": "--{0} (must be|has an empty value)",
    "a": "--{0} (must be|is) ",
    "nan": "--{0} must be ",
    "inf": "--{0} must be ",
    "1e400": "--{0} must be ",
    "0.1;0.2": "--{0} must be ",
}
FINITE = {"--temperature": STEER, "--learning-rate": FINETUNE, "--epochs": FINETUNE, "--coefficient": FINETUNE}
MISSING = {
    "a vector to steer with": ("steer", "{tmp}/no.safetensors", "-p", "Hi", "--layer", "1", "--model", "no/model"),
    "a vector to project on": ("project", "Hi", "-v", "{tmp}/no.safetensors", "--layer", "1", "--model", "no/model"),
    "a transcript": ("monitor", "{tmp}/no.jsonl", "-v", "{vector}", "--layer", "1", "--model", "no/model"),
    "a vector to screen with": (
        "screen",
        "{tmp}/d.jsonl",
        "-v",
        "{tmp}/no.safetensors",
        "--out",
        "{tmp}/o",
        "--model",
        "no/m",
    ),
    "a data set to screen": ("screen", "{tmp}/no.jsonl", "-v", "{vector}", "--out", "{tmp}/o", "--model", "no/m"),
    "data to train on": ("finetune", "{tmp}/no.jsonl", "--out", "{tmp}/o", "--model", "no/m"),
    "a vector to prevent": (
        *FINETUNE[:-2],
        "--model",
        "no/m",
        "--prevent",
        "{tmp}/no.safetensors",
        "--coefficient",
        "1",
    ),
    "a vector to watch": (*FINETUNE[:-2], "--model", "no/m", "--watch", "{tmp}/no.safetensors"),
    "a trait": ("extract", "{tmp}/no.json", "--out", "{tmp}/o", "--model", "no/m"),
    "traits of a run": ("run", "--trait", "{tmp}/no.json", "--out", "{tmp}/o", "--model", "no/m"),
    "a corpus": ("styles", "{tmp}/no.csv", "--out", "{tmp}/o", "--model", "no/m"),
    "texts of a dictionary": ("sae", "--text", "{tmp}/no.txt", "--out", "{tmp}/o", "--model", "no/m"),
    "an inventory": ("inventory", "{tmp}/no.csv", "--out", "{tmp}/o", "--model", "no/m"),
    "an adapter to continue with": ("psychadapter", "generate", "{tmp}/no.safetensors", "-p", "x"),
    "texts to train an adapter on": ("psychadapter", "train", "{tmp}/no.csv", "--out", "{tmp}/o", "--model", "no/m"),
    "a file to convert": (
        "convert",
        "{tmp}/no.gguf",
        "{tmp}/b.safetensors",
        "--from",
        "gguf",
        "--to",
        "native",
        "-m",
        "no/m",
    ),
    "a file of options": ("run", "--config", "{tmp}/no.toml"),
    "respondents": ("inventory", "big_five_50", "--out", "{tmp}/o", "--respondents", "{tmp}/no.txt", "--model", "no/m"),
    "a GGUF model": ("extract", "{trait}", "--out", "{tmp}/o", "--model", "{tmp}/no.gguf", "--n-questions", "1"),
    "a GGUF to serve": ("serve", "{tmp}/no.gguf"),
}


def data(given: Given) -> None:
    (given.tmp / "d.jsonl").write_text(LINE)


def config(text: str):
    def make(given: Given) -> None:
        (given.tmp / "c.toml").write_text(text.replace("TMP", str(given.tmp)))

    return make


def file_as_folder(given: Given) -> None:
    (given.tmp / "o").write_text("mine")


def loop(given: Given) -> None:
    (given.tmp / "o").symlink_to(given.tmp / "o2")
    (given.tmp / "o2").symlink_to(given.tmp / "o")


CONFIGS = {
    "not TOML": ("a = = 2", "cannot be read as TOML"),
    "an option of no command": ('colour = "red"', "names 'colour', which is none of"),
    "a list where one value is": ("layer = [1, 2]", "layer must be one value, got a list of 2"),
    "a table": ("[layer]\na = 1", "layer must be a text, a number"),
    "true where a number is": ("layer = true\nprompt = 'x'", "layer takes a value, not true or false"),
    "a list in a list": ("layer = 1\nprompt = ['x', ['y']]", "prompt must be a text, a number, true, false, or a list"),
    "one option in two spellings": ("layer = 1\nlayers = 2", "says layer twice, as 'layer' and as 'layers'"),
    "one option with two kinds of dashes": ("max-new-tokens = 1\nmax_new_tokens = 2", "says max-new-tokens twice"),
    "a text where a number is": ('prompt = "x"\nlayer = "one"', "--layer"),
    "a number out of range": ("prompt = 'x'\nlayer = -1", "--layer"),
    "a choice that is none": ('layer = 1\nprompt = "x"\nbackend = "vllm"', "'vllm' is not one of"),
    "no number": ("layer = 1\nprompt = 'x'\ntemperature = nan", "--?temperature"),
    "binary": ("\0\1", "cannot be read as TOML"),
    "options with an underscore and an old spelling": (
        'prompt = "Hi"\nlayer = 9\ncoefficients = [0.1]\nmax_new_tokens = 2',
        "none.safetensors does not exist",
    ),
}

ROWS: tuple[Row, ...] = (
    *(
        Command(f"an empty path: {out}", (*SCREEN[:4], *out), 2, "is empty")
        for out in (("--out", ""), ("--out=",), ("-o", " "))
    ),
    *(Command(f"seed -1 of {name}", (*argv, "--seed", "-1"), 2, "'--seed': must be") for name, argv in SEEDED.items()),
    *(
        Command(f"seed past 32 bits of {name}", (*argv, "--seed", "4294967296"), 2, "at most 4294967295")
        for name, argv in SEEDED.items()
    ),
    *(
        Command(f"seed past 64 bits of {name}", (*argv, "--seed", "9" * 25), 2, "--seed")
        for name, argv in SEEDED.items()
    ),
    *(
        Command(
            f"{option} {value} of {argv[0]}", (*argv, option, value), 2, f"'{option}': must be greater than or equal to"
        )
        for (option, value), places in AT_LEAST.items()
        for argv in places
    ),
    *(
        Command(f"{option} {value[:12]}", (*argv, option, value), 2, option)
        for (option, value), argv in TOO_MUCH.items()
    ),
    *(
        Command(f"{option} {value}", (*argv, option, value), 2, words)
        for (option, value), (argv, words) in CHOICES.items()
    ),
    *(
        Command(
            f"coefficient {value!r} of {argv[0]}", (*argv, f"--coefficient={value}"), 2, words.format("coefficient")
        )
        for value, words in LISTS.items()
        for argv in (STEER, RUN)
    ),
    *(
        Command(f"layer {value!r} of {argv[0]}", (*argv, f"--layer={value}"), 2, words.format("layer"), make=data)
        for value, words in LISTS.items()
        for argv in (RUN, SCREEN)
    ),
    *(
        Command(f"{option} {value} of {argv[0]}", (*argv, option, value), 2, option)
        for option, argv in FINITE.items()
        for value in ("nan", "inf", "-inf", "1e308x")
    ),
    *(
        Command(
            f"missing: {name}",
            argv,
            2 if "options" in name else 1,
            r"does not exist|there is no|no (trait|inventory|style|corpus)",
            make=data,
        )
        for name, argv in MISSING.items()
    ),
    *(
        Command(
            f"options: {name}",
            ("steer", "{tmp}/none.safetensors", "--config", "{tmp}/c.toml"),
            1 if "underscore" in name else 2,
            words,
            make=config(text),
        )
        for name, (text, words) in CONFIGS.items()
    ),
    Command(
        "a threshold that is no number",
        ("monitor", "{tmp}/d.jsonl", "-v", "{vector}", "--layer", "1", "--threshold", "nan"),
        2,
        "--threshold must be a finite number, got nan",
    ),
    Command("a folder of options", ("run", "--config", "{tmp}"), 2, r"is a folder\.\n  Expected a file"),
    Command("options from a pipe", ("run", "--config", "{tmp}/p"), 2, "p is a pipe", lambda g: os.mkfifo(g.tmp / "p")),
    Command(
        "a folder to project", ("project", "{tmp}", "-v", "{vector}", "--layer", "1", *USE), 1, "holds no data set"
    ),
    Command(
        "a loop to project",
        ("project", "{tmp}/o", "-v", "{vector}", "--layer", "1", *USE),
        1,
        "its symbolic links lead in a circle",
        make=loop,
    ),
    Command(
        "a workbook to write",
        ("project", "Hi", "-v", "{vector}", "--layer", "1", "--out", "{tmp}/p.xlsx", "--model", "no/model"),
        2,
        r"'p.xlsx'.\n  The name must end in .csv or .parquet",
    ),
    Command(
        "a folder as a table",
        ("monitor", "{tmp}/d.jsonl", "-v", "{vector}", "--layer", "1", "--out", "{tmp}", "--model", "no/model"),
        2,
        "a table cannot be written as",
        make=data,
    ),
    Command(
        "a table of Parquet",
        ("project", "Hi", "-v", "{vector}", "--layer", "1", "--out", "{tmp}/p.parquet", "--json", *USE),
        0,
        '"text": "Hi"',
    ),
    Command(
        "a gap that is no number",
        ("levels", "{trait}", "--out", "{tmp}/o", "--min-gap", "nan"),
        2,
        "--min-gap must be a finite number, got nan",
    ),
    Command(
        "a threshold beside neutral traffic",
        ("monitor", "{tmp}/d.jsonl", "-v", "{vector}", "--layer", "1", "--threshold", "1", "--neutral", "x"),
        2,
        "got both --threshold and --neutral",
    ),
    Command(
        "a vector twice",
        ("project", "Hi", "-v", "{vector}", "-v", "{vector}", "--layer", "1", *USE),
        2,
        "names .* twice",
    ),
    Command(
        "a judge that is none",
        ("psychadapter", "measure", "{tmp}/a", "{trait}", "--out", "{tmp}/o", "--judge", "me"),
        1,
        ".",
    ),
    Command(
        "a text with a NUL in a file of options",
        ("steer", "v", "--config", "{tmp}/c.toml"),
        2,
        "must not hold a NUL",
        make=config('prompt = "a\\u0000b"\nlayer = 1'),
    ),
    Command(
        "a system prompt of half a character",
        ("inventory", "big_five_50", "--out", "{tmp}/o", "--system", "a\udc80b", *USE),
        2,
        "--system must be UTF-8",
    ),
    Command(
        "a trait name of half a character", ("extract", "\ud800", "--out", "{tmp}/o", *USE), 2, "--trait must be UTF-8"
    ),
    Command(
        "a prompt of 200,000 characters",
        ("steer", "{vector}", "-p", "a" * 200_000, "--layer", "1", *USE),
        2,
        "--prompt must be at most 100,000 characters, got 200,000",
    ),
    Command(
        "a folder of results that is a file",
        (*EXTRACT, "--dtype", "float32", "--n-questions", "1"),
        1,
        "o",
        make=file_as_folder,
    ),
    Command(
        "a folder of results that is a loop", (*EXTRACT, "--dtype", "float32", "--n-questions", "1"), 1, "o", make=loop
    ),
    Command(
        "a folder of results with a name too long",
        ("extract", "{trait}", "--out", "{tmp}/" + "x" * 300, *USE, "--n-questions", "1"),
        1,
        "xxx",
    ),
    Command("no such device", (*EXTRACT, "--n-questions", "1", "--device", "tpu9"), 2, "device"),
    Command("a device that is not there", (*EXTRACT, "--n-questions", "1", "--device", "cuda:77"), 2, "device"),
    Command("steered", (*STEER, "--coefficient", "0.1"), 0, r"cheerful \+0.1"),
    Command("steered, joined by commas", (*STEER, "--coefficient=-0.1,0.1"), 0, r"cheerful -0.1"),
    Command("steered, as JSON", (*STEER, "--coefficient", "0.1", "--json"), 0, r'^\[\{"question": "Hi"'),
    Command("steered by effect", (*STEER, "--kl", "0.05"), 0, r"\(0\.05 nats\)"),
    Command("effects 0", (*STEER, "--kl", "0.3,0"), 2, r"--kl must be above 0, got 0\."),
    Command("effects too near", (*STEER, "--kl", "0.3,0.31"), 2, r"at least a quarter apart, got 0\.3 and 0\.31"),
    Command("an effect out of reach", (*STEER, "--kl", "900"), 1, r"the mean KL does not reach 900 nats"),
    Command(
        "effects and coefficients", (*STEER, "--kl", "0.3", "--coefficient", "0.1"), 2, "both --kl and --coefficient"
    ),
    Command("the traits as JSON", ("traits", "--json"), 0, '"evil"'),
    Command("a trait whole", ("traits", "show", "evil"), 0, '"instruction"'),
    Command("the models", ("models",), 0, "smollm2-135m-instruct"),
    Command("no such packaged model", ("models", "get", "gpt-5"), 2, "no packaged model is called 'gpt-5'"),
    Command("the inventories", ("inventory", "--list"), 0, "big_five_50"),
    Command("the inventories as JSON", ("inventory", "--json"), 0, '"n_items": 50'),
    Command("the version", ("--version",), 0, r"^persona-interp \d+\.\d+\.\d+"),
    Command("no such command", ("steeer",), 2, "No such command 'steeer'"),
    Command("no such option", (*STEER, "--strength", "1"), 2, "No such option: --strength"),
    Command("nothing that is required", ("steer",), 2, "Missing"),
)
