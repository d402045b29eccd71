import base64
import importlib.util
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from persona_interp.errors import ArtefactError
from persona_interp.report import write_report

HELPER = Path(__file__).parent / "figures" / "conftest.py"
SPEC = importlib.util.spec_from_file_location("figures_conftest", HELPER)
assert SPEC is not None and SPEC.loader is not None
synthetic = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(synthetic)


class Page(HTMLParser):
    """Tags, attributes and visible text of a page; a tag that is not closed fails the test."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\N{NO-BREAK SPACE}", " ").split())

    @property
    def sections(self) -> list[str | None]:
        return [attributes.get("id") for tag, attributes in self.tags if tag == "section"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_results(tmp_path_factory.mktemp("written") / "results")


@pytest.fixture(scope="module")
def folder(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without steering, whose figures take longest to draw."""
    folder = shutil.copytree(written, tmp_path_factory.mktemp("report") / "results")
    frames = synthetic.tables()
    synthetic.write_frames(folder, {name: frame for name, frame in frames.items() if name != "steering"})
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def few(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder whose figures are not drawn, for tests of the text alone."""
    monkeypatch.setattr("persona_interp.report.plot_main_job", lambda _: [])
    return shutil.copytree(written, tmp_path / "results")


def test_the_sections_are_there(page: Page):
    assert page.sections == ["claims", "found", "sure", "figures", "examples", "numbers", "provenance", "files"]
    assert {a["href"] for tag, a in page.tags if tag == "a"} == {f"#{name}" for name in page.sections}


def test_a_sentence_a_trait_with_its_numbers(page: Page):
    assert "impolite: separated; steering raises expression" in page.text
    assert "adding it at layer 12 with coefficient +0.5 raises expression: +22.1 [+17.5, +26.6] points" in page.text
    assert "evil: not separated; steering has no detectable effect on expression" in page.text


def test_every_trait_has_its_graded_claim_and_the_grades_are_explained(page: Page):
    for words in (
        "impolite strong 0.95 [0.89, 0.99] yes +22.1 [+17.5, +26.6] points 1 of 1",
        "evil not shown 0.50 [0.44, 0.55] no −0.3 [−4.9, +4.2] points 0 of 1",
        "not shown : neither separates nor steers beyond chance, at this size and these counts",
        "No vector of another trait of this run separates these answers as well: the best is that of optimistic, AUC",
        "Of 1 other judge, 1 give the effect the same sign",
    ):
        assert words in page.text


def test_agreement_baselines_and_effect_sizes_are_tables(page: Page):
    for words in (
        "impolite all answers Spearman's rho of two judges lexicon likelihood (smollm2-135m-instruct) 0.81 [0.70,",
        "impolite all answers Krippendorff's alpha of two judges lexicon likelihood (smollm2-135m-instruct) 0.51 [no",
        "impolite all answers, ranks 0.63 [0.53, 0.73] 60",
        "impolite change of expression points of 100 lexicon +22.10 [+18.10, +26.10] 80 20",
        "impolite Hedges' g — lexicon +1.25 [+0.90, +1.60] 80 20",
        "impolite logistic cosine the persona vector 0.90 [no interval]",
        "the held-out answers chose nothing here",
    ):
        assert words in page.text


def test_nothing_is_loaded_and_nothing_runs(page: Page):
    allowed = {"html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "nav", "a", "main",
               "section", "div", "b", "i", "ul", "li", "dl", "dt", "dd", "figure", "img", "figcaption", "span", "small",
               "table", "tr", "th", "td", "code"}  # fmt: skip
    assert {tag for tag, _ in page.tags} <= allowed
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert all(str(a["src"]).startswith("data:image/png;base64,") for tag, a in page.tags if tag == "img")
    assert all("url(" not in str(value) for _, attributes in page.tags for value in attributes.values())


def test_pictures_are_the_saved_ones(page: Page, folder: Path):
    embedded = [base64.b64decode(str(a["src"]).split(",")[1]) for tag, a in page.tags if tag == "img"]
    saved = [path.read_bytes() for path in (folder / "figures").glob("*.png")]
    assert len(embedded) == 7
    assert sorted(embedded) == sorted(saved)
    assert all(a["alt"] for tag, a in page.tags if tag == "img")


def test_hostile_answers_are_text(page: Page):
    assert '<script>alert("x")</script><img src=x onerror=alert(1)> {{ 7 * 7 }} {% raw %} & $a$' in page.text
    assert "Why is the sky blue? <b>Short</b>, please." in page.text
    assert not any("\x1b" in text or "\u202e" in text for text in page.texts)


def test_provenance_judges_and_files_are_listed(page: Page):
    for words in (
        "versions › torch 2.13.0",
        "blind to meaning",
        "time_s › steering 211.75",
        "tables/steering_null.csv",
    ):
        assert words in page.text
    assert "figures/geometry.pdf" in page.text


def test_a_second_report_is_the_same(few: Path):
    before = write_report(few).read_bytes()
    assert write_report(few).read_bytes() == before
    assert not list(few.rglob("*.tmp"))


def test_hostile_names_everywhere_are_text(few: Path):
    bad = "</title></style><script>1</script>\"'><img src=x onerror=1>"
    for name in ("config", "provenance_persona"):
        data = json.loads((few / f"{name}.json").read_text())
        data |= {"model": bad, bad: bad, "judges": {bad: bad}, "backend": bad, "dtype": bad}
        (few / f"{name}.json").write_text(json.dumps(data))
    summary = json.loads((few / "summary.json").read_text())
    hostile = {key: bad for key in ("trait", "filter", "selection_rule", "effect_judge")} | {"notes": [bad]}
    (few / "summary.json").write_text(json.dumps([summary[0] | hostile]))
    page = Page(write_report(few).read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "img" not in {tag for tag, _ in page.tags}
    assert page.text.count("<script>1</script>") >= 12
    (few / "summary.json").write_text(json.dumps([summary[0] | {"notes": ["\ud800"]}]))
    with pytest.raises(ArtefactError, match=r"summary\.json is not valid JSON: .* half of a surrogate pair \(.ud800\)"):
        write_report(few)


def test_a_seed_that_is_no_number_is_refused(few: Path):
    data = json.loads((few / "config.json").read_text()) | {"seed": "<script>1</script>"}
    (few / "config.json").write_text(json.dumps(data))
    with pytest.raises(ArtefactError, match=r"config.json: seed is a text, '<script>1</script>'"):
        write_report(few)


def test_without_examples_their_section_is_omitted(few: Path):
    (few / "tables" / "examples.csv").unlink()
    page = Page(write_report(few).read_text(encoding="utf-8"))
    assert "examples" not in page.sections
    assert "#examples" not in {a["href"] for tag, a in page.tags if tag == "a"}


def test_answers_stand_in_order_of_coefficient_and_empty_ones_are_said(few: Path):
    path = few / "tables" / "examples.csv"
    frame = pd.read_csv(path).query("trait == 'evil'").iloc[[2, 1, 0]].assign(answer="", coherence=float("nan"))
    frame.to_csv(path, index=False)
    text = Page(write_report(few).read_text(encoding="utf-8")).text
    low, zero, high = (
        text.index(words) for words in ("coefficient −0.5, layer 12", "unsteered exp", "coefficient +0.5, l")
    )
    assert low < zero < high
    assert text.count("(empty answer)") == 3
    assert "expression 55, coherence not computed" in text


def test_numbers_that_were_not_computed_are_said_so(few: Path):
    summary = json.loads((few / "summary.json").read_text())
    kept = {"trait": "evil", "notes": None}
    (few / "summary.json").write_text(
        json.dumps([dict.fromkeys(summary[0]) | kept, summary[0] | {"q_separation": float("nan")}])
    )
    text = Page(write_report(few).read_text(encoding="utf-8")).text
    assert "evil: separation not measured; steering not measured" in text
    assert "None" not in text
    assert "nan" not in text.split()


def test_other_folders_are_one_line(few: Path):
    (few / "rollouts").mkdir()
    for index in range(3):
        (few / "rollouts" / f"{index}.json").write_bytes(b"x" * 1000)
    assert "rollouts/ (3 files) 3.0 kB" in Page(write_report(few).read_text(encoding="utf-8")).text


@pytest.mark.parametrize("name", ["summary.json", "effects.parquet"])
def test_a_missing_required_file_is_named_and_no_page_is_written(few: Path, name: str):
    (few / name).unlink()
    with pytest.raises(ArtefactError) as error:
        write_report(few)
    assert str(few / name) in str(error.value)
    assert not (few / "report.html").exists()
