"""Styles from parallel lines, prompts, reviews, tweets and verses; real data where they lie beside the checkout."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from zipfile import BadZipFile

import pandas as pd
import pytest

from persona_interp.data.style_sources import (
    read_parallel_lines,
    read_reviews,
    read_tweets,
    read_verse_pairs,
)
from persona_interp.data.styles import load_styles
from persona_interp.errors import ArtefactError, ConfigError, DataError, MissingPackageError

REAL = Path(__file__).parents[4] / "shared" / "data" / "style_vectors"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the parallel lines are not here")


def write_lines(folder: Path, original: list[str], modern: list[str], split: str = "train") -> None:
    for side, lines in (("original", original), ("modern", modern)):
        path = folder / f"shakespeare.{split}.{side}.txt"
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def test_parallel_lines_stay_aligned_and_pairs_that_tell_nothing_are_counted(tmp_path: Path):
    original = ["Thou liest .", "Ay .", "Who's there ?", "", "Hence !", "Peace .", "Ay ."]
    modern = ["You lie .", "Yes .", "who's  there ?", "Silence .", "Go away !", "Go away !", "Sure ."]
    write_lines(tmp_path, original, modern)
    found = read_parallel_lines(tmp_path)
    assert found.sentences == {
        "shakespeare": ("Thou liest .", "Ay .", "Hence !"),
        "modern": ("You lie .", "Yes .", "Go away !"),
    }
    assert found.parallel
    assert found.source == (
        f"{tmp_path} (1 pairs the same on both sides left out; 2 pairs with a repeated sentence left out;"
        " 1 pairs with an empty side left out)"
    )
    assert found.instructions == load_styles("shakespeare").instructions


def test_parallel_lines_of_unequal_number_are_refused(tmp_path: Path):
    write_lines(tmp_path, ["Ay .", "Nay .", "Fie !"], ["Yes .", "No ."], split="valid")
    with pytest.raises(DataError) as caught:
        read_parallel_lines(tmp_path, "valid")
    assert str(caught.value) == (
        f"{tmp_path / 'shakespeare.valid.original.txt'} has 3 lines, shakespeare.valid.modern.txt has 2.\n"
        "  Expected the same number: line i of one says what line i of the other says."
    )
    with pytest.raises(ArtefactError, match=r"shakespeare\.test\.original\.txt does not exist"):
        read_parallel_lines(tmp_path, "test")


def test_an_unknown_split_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        read_parallel_lines(tmp_path, "dev")
    assert str(caught.value) == "split must be one of train, valid, test, got 'dev'."


@real
@pytest.mark.parametrize(("split", "n_kept"), [("valid", 1_128), ("test", 1_343)])
def test_real_parallel_lines(split: str, n_kept: int):
    found = read_parallel_lines(REAL, split)
    assert [len(texts) for texts in found.sentences.values()] == [n_kept, n_kept]
    first, second = found.split()
    assert len(first.sentences["modern"]) + len(second.sentences["modern"]) == n_kept


REVIEWS = [("Lovely.<br />Again!", "great"), ("Fine nuts.", "great"), ("Stale.", "other"), ("Meh.", "other")]


def write_reviews(path: Path, rows: list[tuple[str, str]]) -> Path:
    pd.DataFrame(rows, columns=["review", "score"]).to_csv(path, index=False)
    return path


def test_reviews_of_a_csv_and_those_with_two_ratings(tmp_path: Path):
    path = write_reviews(tmp_path / "r.csv", [*REVIEWS, ("So so.", "great"), ("so so.", "other"), ("Meh.", "other")])
    found = read_reviews(path)
    assert found.sentences == {"positive": ("Lovely. Again!", "Fine nuts."), "negative": ("Stale.", "Meh.")}
    assert found.source == f"{path} (1 texts with two labels left out) (1 repeated sentences left out)"
    assert found.instructions == load_styles("sentiment").instructions


def test_reviews_name_what_is_wrong(tmp_path: Path):
    path = write_reviews(tmp_path / "r.csv", [*REVIEWS, ("Hm.", "4")])
    with pytest.raises(DataError) as caught:
        read_reviews(path)
    assert str(caught.value) == f"{path}, line 6: the score is '4'.\n  Expected great or other."
    path.write_text("review,stars\nHm.,4\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_reviews(path)
    assert str(caught.value) == f"{path} lacks the column score.\n  Found review, stars."
    with pytest.raises(DataError) as caught:
        read_reviews(tmp_path / "r.xls")
    assert str(caught.value) == f"{tmp_path / 'r.xls'} is no R data file.\n  Expected .rda or .rdb."


def test_an_r_file_needs_rdata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "small_fine_foods.rda"
    path.write_bytes(b"RDX3")
    monkeypatch.setitem(sys.modules, "rdata", None)
    with pytest.raises(MissingPackageError) as caught:
        read_reviews(path)
    assert str(caught.value) == (
        "small_fine_foods.rda cannot be read: the package rdata is not installed.\n  Install it: pip install rdata"
    )


def test_reviews_of_an_r_file(tmp_path: Path):
    rdata = pytest.importorskip("rdata")
    path = tmp_path / "small_fine_foods.rda"
    half = pd.DataFrame(REVIEWS[::2], columns=["review", "score"]).astype(object)
    rest = pd.DataFrame(REVIEWS[1::2], columns=["review", "score"]).astype(object)
    rdata.write_rda(path, {"training_data": half, "testing_data": rest, "other": half})
    assert {s: set(t) for s, t in read_reviews(path).sentences.items()} == {
        "positive": {"Lovely. Again!", "Fine nuts."},
        "negative": {"Stale.", "Meh."},
    }
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ArtefactError, match="is not a whole R data file"):
        read_reviews(path)


def test_tweets_are_read_as_latin1_above_a_confidence(tmp_path: Path):
    path = tmp_path / "tweets.csv"
    rows = ["positive,0.9,Voil\xe0!", "positive,1,Yes!", "negative,,No!", "negative,0.8,Never!", "negative,0.7,Ugh!"]
    path.write_bytes("\n".join(["sentiment,confidence,text", *rows, "negative,1, ", ""]).encode("latin-1"))
    assert read_tweets(path).sentences["negative"] == ("No!", "Never!", "Ugh!")
    assert read_tweets(path, min_confidence=0.7).sentences == {
        "positive": ("Voil\xe0!", "Yes!"),
        "negative": ("Never!", "Ugh!"),
    }
    path.write_bytes(b"sentiment,confidence,text\npositive,sure,Yes!\n")
    with pytest.raises(DataError) as caught:
        read_tweets(path)
    assert str(caught.value) == f"{path}, line 2: the confidence is 'sure'.\n  Expected a number, or nothing."


class FakeBible:
    """A Bible of one book with two chapters, in pysword's form; the modern one lacks a verse."""

    def __init__(self, modern: bool) -> None:
        verses = {(1, 1): "<w>In thy house</w>.", (1, 2): "¶ Thou art<note>or wert</note>gone. ", (2, 1): "Verily."}
        if modern:
            verses = {(1, 1): "<title>A title</title>In your house.", (1, 2): "You are gone."}
        self.verses = verses

    def get_structure(self) -> SimpleNamespace:
        book = SimpleNamespace(name="Ruth", chapter_lengths=[2, 1])
        return SimpleNamespace(get_books=lambda: {"ot": [book]})

    def get_iter(self, books: list[str], chapters: list[int], verses: list[int] | None = None, clean: bool = True):
        assert (books, clean) == (["Ruth"], False)
        yield from (t for (c, v), t in self.verses.items() if c in chapters and (verses is None or v in verses))


def fake_pysword(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    class SwordModules:
        def __init__(self, path: str) -> None:
            self.path = path

        def parse_modules(self) -> dict[str, dict]:
            if not names:
                raise BadZipFile("File is not a zip file")
            return {name: {} for name in names}

        def get_bible_from_module(self, name: str) -> FakeBible:
            return FakeBible(modern="WEB" in name)

    module = ModuleType("pysword.modules")
    module.SwordModules = SwordModules  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "pysword", ModuleType("pysword"))
    monkeypatch.setitem(sys.modules, "pysword.modules", module)


def test_verses_are_paired_by_place_without_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake_pysword(monkeypatch, ["engKJV", "engWEB"])
    found = read_verse_pairs(tmp_path, tmp_path)
    assert found.sentences == {
        "archaic": ("In thy house.", "Thou art gone."),
        "modern": ("In your house.", "You are gone."),
    }
    assert found.parallel
    assert found.source == f"{tmp_path}, {tmp_path} (1 pairs with an empty side left out)"


def test_verses_need_pysword_and_one_module_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake_pysword(monkeypatch, ["engKJV", "engKJV2", "engWEB"])
    with pytest.raises(DataError) as caught:
        read_verse_pairs(tmp_path, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has 2 Sword modules with KJV in their names.\n"
        "  Found engKJV, engKJV2, engWEB; expected exactly one."
    )
    fake_pysword(monkeypatch, [])
    with pytest.raises(DataError) as caught:
        read_verse_pairs(tmp_path, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is no folder or zip of Sword modules: File is not a zip file.\n  Expected mods.d in it."
    )
    monkeypatch.setitem(sys.modules, "pysword", None)
    monkeypatch.setitem(sys.modules, "pysword.modules", None)
    with pytest.raises(MissingPackageError) as caught:
        read_verse_pairs(tmp_path, tmp_path)
    assert str(caught.value) == (
        "verses of Sword modules cannot be read: the package pysword is not installed.\n"
        "  Install it: pip install pysword"
    )
