import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_interp.data.trait_text_rows import RATED_PARTS
from persona_interp.data.trait_texts import Standard, TraitTexts, read_trait_texts, read_vader_ratings
from persona_interp.errors import ArtefactError, ConfigError, DataError

PUBLISHED = 'message_id,message,ope_z,con_z\n7,one fine day,0.5,-1\n8,"rain, again",-0.25,2\n9,dull,1.5,0\n'


def texts(n: int = 10, traits: tuple[str, ...] = ("calm", "loud"), seed: int = 0, **changes) -> TraitTexts:
    scores = np.random.default_rng(seed).normal(3, 2, (n, len(traits)))
    plain = {"texts": tuple(f"text {i}" for i in range(n)), "scores": scores, "traits": traits, "source": "made up"}
    return TraitTexts(**{**plain, "estimated": False, **changes})


def written(folder: Path, text: str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_published_layout_is_read(tmp_path):
    data = read_trait_texts(written(tmp_path, PUBLISHED))
    assert data.texts == ("one fine day", "rain, again", "dull")
    assert data.traits == ("ope_z", "con_z")
    assert data.ids == ("7", "8", "9")
    assert not data.estimated
    np.testing.assert_array_equal(data.scores, [[0.5, -1], [-0.25, 2], [1.5, 0]])


def test_a_text_may_hold_line_breaks_and_need_no_id(tmp_path):
    data = read_trait_texts(written(tmp_path, 'dep_score,text\n1,"one\ntwo"\n2,three\n'))
    assert data.texts == ("one\ntwo", "three")
    assert data.ids == ("1", "2")


@given(st.integers(2, 12), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_what_is_saved_is_read_back(tmp_path_factory, n, k, seed):
    data = texts(n, tuple("abc"[:k]), seed, estimated=True)
    path = tmp_path_factory.mktemp("data") / "texts.jsonl"
    data.save(path)
    again = read_trait_texts(path)
    assert (again.texts, again.traits, again.ids, again.estimated) == (data.texts, data.traits, data.ids, True)
    np.testing.assert_array_equal(again.scores, data.scores)
    assert again.data_hash == data.data_hash


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("message_id,message,a\n1,x,1\n2,  ,2\n", "data.csv, row 2: the text is empty."),
        ("message_id,message,a\n1,x,nan\n2,y,2\n", "data.csv, row 1, column a: 'nan' is no score."),
        ("message_id,message,a,b\n1,x,1,2\n2,y,2,high\n", "data.csv, row 2, column b: 'high' is no score."),
        ("message_id,message,a\n1,x,2\n2,y,2\n", "column a: all 2 scores are 2."),
        ("message_id,message\n1,x\n2,y\n", "has no trait column: message_id, message."),
        ("message_id,a\n1,2\n2,3\n", "has no text column: message_id, a."),
        ("message,a,a\nx,2,1\ny,3,1\n", "has two columns of one name: message, a, a."),
        ("message_id,message,a\n1,x,2\n1,y,3\n", "data.csv, row 2: every text must have its own id, got '1' twice."),
        ("message_id,message,a\n1,x,2\n", "holds one text."),
        ("message_id,message,a\n", "holds no text."),
        ("", "has no text column: it is empty."),
        ("message_id,message,a\n1,x\n", "data.csv, row 1: 2 fields; the header names 3."),
    ],
)
def test_a_csv_file_that_cannot_be_learnt_from_is_refused(tmp_path, lines, expected):
    with pytest.raises(DataError) as caught:
        read_trait_texts(written(tmp_path, lines))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('{"text": "x", "scores": {"a": 1}}\n{"text": "y"}\n', "data.jsonl, line 2: there are no scores."),
        ('{"text": "x", "scores": {"a": null}}\n', "data.jsonl, line 1, column a: None is no score."),
        ('{"text": "x", "scores": {"a": true}}\n', "data.jsonl, line 1, column a: True is no score."),
        ('{"text": "x", "scores": {"a": 1}}\n{"text": "y", "scores": {"b": 1}}\n', "data.jsonl, line 2: scores for b."),
        ('{"scores": {"a": 1}}\n', "data.jsonl, line 1: the text is missing."),
        ("{\n", "data.jsonl, line 1: not valid JSON"),
    ],
)
def test_a_jsonl_file_that_cannot_be_learnt_from_is_refused(tmp_path, lines, expected):
    with pytest.raises(DataError) as caught:
        read_trait_texts(written(tmp_path, lines, "data.jsonl"))
    assert expected in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="is not read as texts with scores"):
        read_trait_texts(written(tmp_path, "x", "data.txt"))
    with pytest.raises(ArtefactError, match="does not exist"):
        read_trait_texts(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("message,a\ncafé,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not valid UTF-8"):
        read_trait_texts(tmp_path / "latin.csv")


def test_objects_with_scores_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"got 10 texts with 2 traits and scores of shape \(9, 2\)"):
        texts(scores=np.zeros((9, 2)))
    with pytest.raises(DataError, match="made up, text 2, loud: the score is nan"):
        texts(2, scores=np.array([[1, 2], [3, np.nan]]))
    with pytest.raises(DataError, match="made up, text 1: the text is empty"):
        texts(2, texts=(" ", "x"))
    with pytest.raises(DataError, match=r"scores of shape \(3, 2\) by second"):
        texts(also={"second": np.zeros((3, 2))})


def test_standardised_scores_have_mean_0_and_deviation_1_and_keep_what_they_were():
    data = texts(50)
    made = data.standardised()
    np.testing.assert_allclose(made.scores.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(made.scores.std(0), 1)
    standard = made.standard
    assert standard is not None
    np.testing.assert_allclose(made.scores * standard.std + standard.mean, data.scores)
    assert made.standardised() is made


def test_held_out_scores_are_standardised_by_those_trained_on():
    train, held_out = texts(50).split(held_out=0.3, seed=1)
    standard = Standard.of(train)
    made = held_out.standardised(standard)
    np.testing.assert_allclose(made.scores, (held_out.scores - train.scores.mean(0)) / train.scores.std(0))
    with pytest.raises(DataError, match="made up has scores for calm, loud"):
        held_out.standardised(Standard(("calm",), (0.0,), (1.0,)))
    with pytest.raises(DataError, match="z-scores already"):
        train.standardised().standardised(Standard.of(held_out))
    with pytest.raises(DataError, match="column calm: all 3 scores are 1"):
        texts(3, scores=np.array([[1.0, 2], [1, 3], [1, 4]])).standardised()


@given(st.integers(5, 60), st.floats(0.2, 0.8), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_a_split_is_whole_deterministic_and_keeps_equal_texts_together(n, share, seed):
    rng = np.random.default_rng(seed)
    data = texts(n, texts=tuple(f"text {k}" for k in [0, 1, 2, *rng.integers(0, n, n - 3)]))
    train, held_out = data.split(held_out=share, seed=seed)
    assert not set(train.texts) & set(held_out.texts)
    assert sorted(train.ids + held_out.ids, key=int) == list(data.ids)
    again = data.split(held_out=share, seed=seed)
    assert again[1].ids == held_out.ids
    for i, name in enumerate(held_out.ids):
        np.testing.assert_array_equal(held_out.scores[i], data.scores[int(name) - 1])


def test_a_split_without_a_side_is_refused():
    with pytest.raises(DataError, match="cannot hold out 0.01 of 10 different texts"):
        texts().split(held_out=0.01)


def test_take_keeps_the_order_and_other_scores():
    data = texts(9, also={"second": np.arange(18.0).reshape(9, 2)})
    some = data.take(4, seed=3)
    numbers = [int(name) - 1 for name in some.ids]
    assert numbers == sorted(numbers)
    assert len(some) == 4
    np.testing.assert_array_equal(some.also["second"], data.also["second"][numbers])
    assert data.take(9) is data


def rated(folder: Path) -> Path:
    """A source distribution with an archive of ratings inside."""
    lines = {part: f"1\t2.5\tgood {part}\r\n2\t-1.25\tbad\t{part}\r\n" for part in RATED_PARTS}
    inner, outer = io.BytesIO(), folder / "vaderSentiment-3.3.2.tar.gz"
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        for part, name in RATED_PARTS.items():
            _add(archive, f"hutto_ICWSM_2014/{name}", lines[part].encode())
    with tarfile.open(outer, "w:gz") as archive:
        _add(archive, "vaderSentiment-3.3.2/README.rst", b"hello")
        _add(archive, "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", inner.getvalue())
    return outer


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def test_ratings_are_read_from_the_distribution_its_archive_and_folders(tmp_path):
    outer = rated(tmp_path)
    with tarfile.open(outer) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    inner = next((tmp_path / "unpacked").rglob("hutto*.tar.gz"))
    with tarfile.open(inner) as archive:
        archive.extractall(tmp_path / "files", filter="data")
    read = [read_vader_ratings(source) for source in (outer, inner, tmp_path / "unpacked", tmp_path / "files")]
    assert len({data.data_hash for data in read}) == 1
    assert read[0].texts[:2] == ("good film", "bad\tfilm")
    assert read[0].traits == ("sentiment",)
    assert (len(read[0]), read[0].ids[0], read[0].estimated) == (8, "film_1", False)
    assert read_vader_ratings(outer, parts=("tweet",)).texts == ("good tweet", "bad\ttweet")


def test_ratings_that_are_not_there_are_refused_with_how_to_fetch_them(tmp_path):
    with pytest.raises(ConfigError, match=r"no rated snippets are called \['book'\]"):
        read_vader_ratings(rated(tmp_path), parts=("book",))
    wheel = tmp_path / "wheel.tar.gz"
    with tarfile.open(wheel, "w:gz") as archive:
        _add(archive, "vaderSentiment.py", b"x")
    with pytest.raises(ArtefactError, match="holds no movieReviewSnippets_GroundTruth.txt") as caught:
        read_vader_ratings(wheel)
    assert "pip download --no-deps --no-binary :all: vaderSentiment==3.3.2" in str(caught.value)
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(ArtefactError, match="could not read .* as an archive"):
        read_vader_ratings(tmp_path / "broken.tar.gz")
    with pytest.raises(ArtefactError, match="does not exist"):
        read_vader_ratings(tmp_path / "none.tar.gz")
