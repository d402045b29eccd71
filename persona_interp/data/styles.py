"""Styles: sentences told apart by class, with words for prompts; corpora of the package and of users' files."""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from persona_interp.arguments import checked
from persona_interp.bounds import Count
from persona_interp.data.style_corpus import StyleCorpus, corpus_of_rows
from persona_interp.data.style_files import FORMS, csv_rows, decode, folder_rows, jsonl_rows
from persona_interp.data.traits import ContrastPair, Exemplar, Trait
from persona_interp.errors import DataError
from persona_interp.files import is_file, is_folder, shown

_PROMPTS = "prompts.json"
_RUBRIC = (
    "Rate how far the answer below is written in {article} {adjective} manner. Judge the wording and the tone, not"
    " whether the answer is right or useful.\n\nQuestion: {{question}}\nAnswer: {{answer}}\n\n"
    "Use a scale from 0 to 100: 0 means nothing of this manner or the opposite of it, 25 a trace, 50 half of the"
    " answer or an unclear manner, 75 most of it, 100 the manner throughout. If the answer declines to respond to the"
    " question, reply REFUSAL. Reply with only the number or REFUSAL."
)


def list_styles() -> list[str]:
    """Names of the style corpora that come with the package."""
    names = (file.name for file in _folder().iterdir())
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json") and name != _PROMPTS)


@checked
def load_styles(name_or_path: str | Path) -> StyleCorpus:
    """A corpus of this package by name, or one from a user's file or folder.

    A .jsonl or .csv file has the columns `text` and `style`; a folder has one .txt a style, one sentence a line.
    Sentences repeated within a style are left out, and `source` says how many.

    Raises:
        DataError: no such corpus; a text is empty; a column is missing; a sentence has two styles; too few of them.
        ArtefactError: the file cannot be read.
    """
    path = Path(name_or_path)
    if is_folder(path):
        return corpus_of_rows(folder_rows(path), name=path.name, source=str(path))
    if path.suffix in (".jsonl", ".csv"):
        read = jsonl_rows if path.suffix == ".jsonl" else csv_rows
        return corpus_of_rows(read(path, decode(path)), name=path.stem, source=str(path))
    if is_file(path):
        raise DataError(f"{path} cannot be read as a style corpus.", FORMS)
    if str(name_or_path) not in list_styles():
        raise DataError(
            f"no style corpus is called {shown(str(name_or_path), 80)!r}.",
            f"Corpora of the package: {', '.join(list_styles())}.",
            f"Or give the path of your own. {FORMS}",
        )
    return _packaged(str(name_or_path))


@checked
def style_trait(corpus: StyleCorpus, style: str, *, questions: Sequence[str], n_exemplars: Count = 12) -> Trait:
    """A trait whose positive pole is a style, so that judges and steering measurements work on styles.

    Its exemplars are sentences of the style against sentences of the other styles in turn (aligned where the corpus
    is parallel), each as an answer to the empty question. `questions` only evaluate: there are none to extract with.

    Raises:
        DataError: the corpus has no such style.
    """
    if style not in corpus.sentences:
        raise DataError(f"the corpus {corpus.name} has no style {style!r}.", f"Styles: {', '.join(corpus.styles)}.")
    others = [other for other in corpus.styles if other != style]
    some = corpus.take(max(n_exemplars, 2)).sentences
    negative = [text for row in zip(*(some[other] for other in others), strict=False) for text in row]
    if len(others) > 1 and corpus.parallel:
        negative = [some[others[i % len(others)]][i] for i in range(len(some[style]))]
    article, adjective = corpus.descriptions[style].split(maxsplit=1)
    return Trait(
        name=style,
        positive=adjective,
        negative=corpus.descriptions[others[0]].split(maxsplit=1)[1] if len(others) == 1 else "neutral",
        description=f"The answer is written in {article} {adjective} manner.",
        instructions=tuple(corpus.instructions.get(style, ())),
        questions=(),
        eval_questions=tuple(questions),
        eval_prompt=_RUBRIC.format(article=article, adjective=adjective),
        exemplars=tuple(
            Exemplar(question="", pos=pos, neg=neg)
            for pos, neg in list(zip(some[style], negative, strict=False))[:n_exemplars]
        ),
    )


def factual_prompts() -> tuple[str, ...]:
    """Short questions with one answer each, to evaluate styles where content leaves little room."""
    return tuple(_json(_PROMPTS)["factual"])


def subjective_prompts() -> tuple[str, ...]:
    """Questions for opinions, experiences, descriptions and advice, to evaluate styles where content is open."""
    return tuple(_json(_PROMPTS)["subjective"])


def _folder():
    return resources.files("persona_interp.data").joinpath("styles")


def _json(name: str) -> Any:
    return json.loads(_folder().joinpath(name).read_text(encoding="utf-8"))


def _packaged(name: str) -> StyleCorpus:
    data = _json(f"{name}.json")
    styles = data["styles"]
    return StyleCorpus(
        name,
        {style: tuple(entry["sentences"]) for style, entry in styles.items()},
        {style: entry["description"] for style, entry in styles.items()},
        {style: tuple(ContrastPair(**pair) for pair in entry["instructions"]) for style, entry in styles.items()},
        "written for this project",
        data["parallel"],
    )
