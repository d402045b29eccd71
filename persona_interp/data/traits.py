"""Traits: contrastive system prompts, questions to extract and to evaluate with, a rubric, and exemplar answers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from persona_interp.arguments import checked
from persona_interp.errors import TraitError
from persona_interp.files import is_file, shown
from persona_interp.io import path_part, read_json, sha256_json
from persona_interp.texts import clean_text

Side = Literal["positive", "negative"]
LONGEST, LONGEST_NAME = 100_000, 64
"""Characters of a text and of the name of a trait."""


@dataclass(frozen=True)
class ContrastPair:
    """Two system instructions that differ in the trait only."""

    pos: str
    neg: str


@dataclass(frozen=True)
class Exemplar:
    """A question with an answer that shows the trait and one that does not."""

    question: str
    pos: str
    neg: str


@dataclass(frozen=True)
class Trait:
    """A trait with everything that extracting and measuring it needs.

    Args:
        positive: adjective of the pole that the direction points to; `negative` of the other pole.
        questions: for extraction; `eval_questions` are only ever used to evaluate.
        eval_prompt: rubric for a judging model, with the placeholders {question} and {answer}.
        exemplars: answers of both poles, none of them to one of the questions; judges are calibrated on them.
    """

    name: str
    positive: str
    negative: str
    description: str
    instructions: tuple[ContrastPair, ...]
    questions: tuple[str, ...]
    eval_questions: tuple[str, ...]
    eval_prompt: str
    exemplars: tuple[Exemplar, ...] = ()

    def system_prompts(self, side: Side) -> tuple[str, ...]:
        """The system prompts of one side, one for each instruction."""
        adjective = self.positive if side == "positive" else self.negative
        article = "an" if adjective[:1].lower() in "aeiou" else "a"
        texts = (pair.pos if side == "positive" else pair.neg for pair in self.instructions)
        return tuple(f"You are {article} {adjective} assistant. {text}" for text in texts)

    @property
    def data_hash(self) -> str:
        """Hash of everything in the trait, for provenance."""
        return sha256_json(trait_to_dict(self))[:16]


def list_traits() -> list[str]:
    """Names of the traits that come with the package."""
    names = []
    for file in sorted(_folder().iterdir(), key=lambda f: f.name):
        if file.name.endswith(".json"):
            data = json.loads(file.read_text(encoding="utf-8"))
            names += [data["name"], *([data["low"]["name"]] if "low" in data else [])]
    return names


@checked
def load_trait(name: str | Path) -> Trait:
    """A trait of this package by name, or one from a user's file.

    A file in the persona_vectors format (`instruction`, `questions`, `eval_prompt`) is read too. Its evaluation
    questions are taken from `trait_data_eval/` where the file lies in `trait_data_extract/`; a single file gives
    its first half to extraction and its second half to evaluation, as the paper does with 40 questions.

    Raises:
        TraitError: no such trait, or the file misses a key or has a value of the wrong form.
    """
    path = Path(name)
    if path.suffix == ".json" or is_file(path):
        return _from_file(path)
    if not str(name).isidentifier():
        raise _unknown(str(name))
    data = _packaged(str(name).removeprefix("low_"))
    if data is None or (str(name).startswith("low_") and "low" not in data):
        raise _unknown(str(name))
    trait = trait_from_dict(data, source=str(name))
    return _low_pole(trait, data["low"]) if str(name).startswith("low_") else trait


def trait_from_dict(data: Mapping[str, Any], *, source: str) -> Trait:
    """A trait from the package's own JSON form.

    Raises:
        TraitError: a key is missing or a value has the wrong form.
    """
    _require(data, ("name", "instruction", "questions", "eval_prompt"), source)
    check_name(_text(data["name"], "name", source), source)
    questions = _texts(data["questions"], "questions", source)
    evaluation = data.get("eval_questions")
    if evaluation is None:
        half = len(questions) // 2
        if half == 0:
            raise TraitError(f"{source} has {len(questions)} question.", "Give at least two, or `eval_questions`.")
        questions, evaluation = questions[:half], questions[half:]
    rubric = _text(data["eval_prompt"], "eval_prompt", source)
    if "{question}" not in rubric or "{answer}" not in rubric:
        raise TraitError(f"the eval_prompt of {source} lacks {{question}} or {{answer}}.", "Put both in the text.")
    return Trait(
        name=data["name"],
        positive=_text(data.get("positive", data["name"]), "positive", source),
        negative=_text(data.get("negative", "helpful"), "negative", source),
        description=_text(data.get("description", ""), "description", source),
        instructions=tuple(
            ContrastPair(**row) for row in _rows(data["instruction"], ("pos", "neg"), "instruction", source)
        ),
        questions=tuple(questions),
        eval_questions=tuple(_texts(evaluation, "eval_questions", source)),
        eval_prompt=rubric,
        exemplars=tuple(
            Exemplar(**row)
            for row in _rows(data.get("exemplars", []), ("question", "pos", "neg"), "exemplars", source, empty=True)
        ),
    )


def check_name(name: str, source: str) -> None:
    """Refuse a name that could not be a folder's.

    Raises:
        TraitError: names `source`, which gave it.
    """
    if not re.fullmatch(r"\w[\w .-]{0,63}", name):
        raise TraitError(
            f"{source} names its trait {name[:80]!r}.",
            "A name becomes a folder: letters, digits, space, dot, hyphen and underscore only, at most 64 of them.",
        )
    path_part(name, f"trait in {source}")


def trait_to_dict(trait: Trait) -> dict[str, Any]:
    """The package's own JSON form; `trait_from_dict` reads it back."""
    return {
        "name": trait.name,
        "positive": trait.positive,
        "negative": trait.negative,
        "description": trait.description,
        "instruction": [{"pos": p.pos, "neg": p.neg} for p in trait.instructions],
        "questions": list(trait.questions),
        "eval_questions": list(trait.eval_questions),
        "eval_prompt": trait.eval_prompt,
        "exemplars": [{"question": e.question, "pos": e.pos, "neg": e.neg} for e in trait.exemplars],
    }


def _folder():
    return resources.files("persona_interp.data").joinpath("traits")


def _packaged(name: str) -> dict[str, Any] | None:
    if len(name) > LONGEST_NAME:
        return None
    file = _folder().joinpath(f"{name}.json")
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def _low_pole(trait: Trait, low: Mapping[str, str]) -> Trait:
    """The mirror image: the same texts with the poles exchanged."""
    return replace(
        trait,
        name=low["name"],
        positive=trait.negative,
        negative=trait.positive,
        description=low["description"],
        instructions=tuple(ContrastPair(pos=p.neg, neg=p.pos) for p in trait.instructions),
        eval_prompt=low["eval_prompt"],
        exemplars=tuple(Exemplar(e.question, pos=e.neg, neg=e.pos) for e in trait.exemplars),
    )


def _from_file(path: Path) -> Trait:
    if not _is_there(path):
        raise TraitError(
            f"the trait file {shown(path)} does not exist.", f"Traits of the package: {', '.join(list_traits())}."
        )
    data = {"name": path.stem, **_object(path)}
    sibling = path.parent.parent / "trait_data_eval" / path.name
    if "eval_questions" not in data and path.parent.name == "trait_data_extract" and is_file(sibling):
        beside = _object(sibling)
        _require(beside, ("questions",), str(sibling))
        data["eval_questions"] = _texts(beside["questions"], "questions", str(sibling))
    return trait_from_dict(data, source=str(path))


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # read_json says what is wrong
        return True
    return True


def _object(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict):
        raise TraitError(f"{path} holds a {type(data).__name__}.", "Expected one JSON object.")
    return data


def _unknown(name: str) -> TraitError:
    return TraitError(
        f"no trait is called {name[:80]!r}.",
        f"Traits of the package: {', '.join(list_traits())}.",
        "Or give the path of a JSON file with instruction, questions and eval_prompt.",
    )


def _require(data: Mapping[str, Any], keys: Sequence[str], source: str) -> None:
    missing = [key for key in keys if key not in data]
    if missing:
        raise TraitError(
            f"{source} lacks {', '.join(missing)}.", f"Found {', '.join(data) or 'nothing'}; needed {', '.join(keys)}."
        )


def _text(value: Any, key: str, source: str) -> str:
    return clean_text(value, f"{key} of {source}", longest=LONGEST, error=TraitError)


def _texts(value: Any, key: str, source: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v.strip() for v in value):
        raise TraitError(f"{key} of {source} must be a list of non-empty texts.", f"Got {str(value)[:80]!r}.")
    for n, text in enumerate(value, start=1):
        _text(text, f"number {n} of {key}", source)
    return value


def _rows(value: Any, keys: Sequence[str], key: str, source: str, *, empty: bool = False) -> list[dict[str, str]]:
    good = isinstance(value, list) and (empty or value)
    if not good or not all(
        isinstance(v, dict) and all(isinstance(v.get(k), str) and v[k] for k in keys) for v in value
    ):
        raise TraitError(
            f"{key} of {source} must be a list of objects with {', '.join(keys)}.", f"Got {str(value)[:80]!r}."
        )
    return [{k: _text(row[k], f"{k} of {key} {n}", source) for k in keys} for n, row in enumerate(value, start=1)]


def training_questions(*measured: Trait) -> list[str]:
    """Extraction questions of all traits of the package, without any that a measured trait is evaluated with."""
    traits = [load_trait(name) for name in list_traits() if not name.startswith("low_")]
    evaluated = {question for trait in (*traits, *measured) for question in trait.eval_questions}
    asked = [question for trait in (*measured, *traits) for question in trait.questions]
    return [question for question in dict.fromkeys(asked) if question not in evaluated]
