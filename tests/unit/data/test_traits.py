import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from persona_interp.data.traits import ContrastPair, Exemplar, list_traits, load_trait, trait_from_dict, trait_to_dict
from persona_interp.errors import TraitError
from tests.small import TRAIT

PAPER = ("apathetic", "evil", "hallucinating", "humorous", "impolite", "optimistic", "sycophantic")
FIVE = ("agreeableness", "conscientiousness", "extraversion", "neuroticism", "openness")
UPSTREAM = Path(__file__).parents[3] / "../shared/data/persona_vectors"
needs_upstream = pytest.mark.skipif(not UPSTREAM.is_dir(), reason="the upstream data are not there")


def user_file(tmp_path: Path, **changes: object) -> Path:
    """A trait file in the upstream format."""
    plain = {
        "instruction": [{"pos": "Shout.", "neg": "Whisper."}],
        "questions": ["a?", "b?", "c?", "d?"],
        "eval_prompt": "{question} {answer}",
    }
    data = {key: value for key, value in {**plain, **changes}.items() if value is not None}
    path = tmp_path / "loud.json"
    path.write_text(json.dumps(data))
    return path


def test_list_of_traits():
    assert sorted(list_traits()) == sorted([*PAPER, *FIVE, *(f"low_{name}" for name in FIVE)])


@pytest.mark.parametrize("name", [*PAPER, *FIVE, *(f"low_{name}" for name in FIVE)])
def test_packaged_trait_is_whole(name: str):
    trait = load_trait(name)
    assert trait.name == name
    assert trait.positive != trait.negative and trait.description
    assert (len(trait.instructions), len(trait.questions), len(trait.eval_questions)) == (5, 20, 20)
    assert len({pair.pos for pair in trait.instructions} | {pair.neg for pair in trait.instructions}) == 10
    everything = [*trait.questions, *trait.eval_questions, *(e.question for e in trait.exemplars)]
    folded = {" ".join(question.lower().split()) for question in everything}
    assert len(folded) == len(everything), "extraction, evaluation and exemplar questions must be disjoint"
    assert len(trait.exemplars) >= 3
    assert len(set(chain.from_iterable((e.pos, e.neg) for e in trait.exemplars))) == 2 * len(trait.exemplars)


@pytest.mark.parametrize("name", [*PAPER, *FIVE, *(f"low_{name}" for name in FIVE)])
def test_packaged_rubric_can_be_filled_in(name: str):
    trait = load_trait(name)
    filled = trait.eval_prompt.format(question="QUESTION", answer="ANSWER")
    assert "QUESTION" in filled and "ANSWER" in filled
    assert "0" in filled and "100" in filled


@pytest.mark.parametrize("name", FIVE)
def test_low_pole_mirrors_the_high_one(name: str):
    high, low = load_trait(name), load_trait(f"low_{name}")
    assert (low.positive, low.negative) == (high.negative, high.positive)
    assert low.instructions == tuple(ContrastPair(pair.neg, pair.pos) for pair in high.instructions)
    assert low.exemplars == tuple(Exemplar(e.question, e.neg, e.pos) for e in high.exemplars)
    assert (low.questions, low.eval_questions) == (high.questions, high.eval_questions)
    assert low.eval_prompt != high.eval_prompt and low.description != high.description
    assert low.system_prompts("positive") == high.system_prompts("negative")


def test_system_prompts_have_an_article_an_adjective_and_the_instruction():
    assert TRAIT.system_prompts("positive")[0] == "You are a loud assistant. Shout."
    assert TRAIT.system_prompts("negative")[1] == "You are a quiet assistant. Mumble."
    assert load_trait("evil").system_prompts("positive")[0].startswith("You are an evil assistant. ")


def test_json_form_round_trips_and_the_hash_sees_every_field():
    assert trait_from_dict(trait_to_dict(TRAIT), source="here") == TRAIT
    others = [
        replace(TRAIT, name="x"), replace(TRAIT, questions=("x?",)), replace(TRAIT, eval_questions=("x?",)),
        replace(TRAIT, eval_prompt="x"), replace(TRAIT, exemplars=()), replace(TRAIT, positive="x"),
        replace(TRAIT, instructions=(ContrastPair("x", "y"),)),
    ]  # fmt: skip
    assert len({trait.data_hash for trait in (TRAIT, *others)}) == 1 + len(others)


def test_single_upstream_file_is_halved(tmp_path: Path):
    trait = load_trait(user_file(tmp_path))
    assert trait.name == trait.positive == "loud"
    assert trait.questions == ("a?", "b?") and trait.eval_questions == ("c?", "d?")
    assert trait.system_prompts("negative") == ("You are a helpful assistant. Whisper.",)
    assert trait.exemplars == ()


def test_upstream_folders_give_their_own_evaluation_questions(tmp_path: Path):
    for folder, questions in (("trait_data_extract", ["a?", "b?"]), ("trait_data_eval", ["x?"])):
        (tmp_path / folder).mkdir()
        user_file(tmp_path / folder, questions=questions)
    trait = load_trait(str(tmp_path / "trait_data_extract" / "loud.json"))
    assert trait.questions == ("a?", "b?") and trait.eval_questions == ("x?",)


@needs_upstream
@pytest.mark.parametrize("name", PAPER)
def test_upstream_traits_load(name: str):
    trait = load_trait(UPSTREAM / "trait_data_extract" / f"{name}.json")
    evaluation = json.loads((UPSTREAM / "trait_data_eval" / f"{name}.json").read_text())["questions"]
    assert (len(trait.instructions), len(trait.questions)) == (5, 20)
    assert trait.eval_questions == tuple(evaluation)
    assert not set(trait.questions) & set(trait.eval_questions)


@needs_upstream
@pytest.mark.parametrize("name", PAPER)
def test_packaged_texts_are_not_the_upstream_ones(name: str):
    ours, theirs = load_trait(name), load_trait(UPSTREAM / "trait_data_extract" / f"{name}.json")
    assert not {*ours.questions, *ours.eval_questions} & {*theirs.questions, *theirs.eval_questions}
    assert not set(ours.instructions) & set(theirs.instructions)


def test_missing_keys_are_named(tmp_path: Path):
    path = user_file(tmp_path, instruction=None, eval_prompt=None)
    with pytest.raises(TraitError) as caught:
        load_trait(path)
    assert str(caught.value) == (
        f"{path} lacks instruction, eval_prompt.\n"
        "  Found name, questions; needed name, instruction, questions, eval_prompt."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"questions": "a?"}, "questions of {path} must be a list of non-empty texts.\n  Got 'a?'."),
        ({"questions": []}, "questions of {path} must be a list of non-empty texts.\n  Got '[]'."),
        (
            {"questions": ["a?", " "]},
            "questions of {path} must be a list of non-empty texts.\n  Got \"['a?', ' ']\".",
        ),
        ({"questions": ["a?"]}, "{path} has 1 question.\n  Give at least two, or `eval_questions`."),
        (
            {"instruction": [{"pos": "Shout."}]},
            "instruction of {path} must be a list of objects with pos, neg.\n  Got \"[{{'pos': 'Shout.'}}]\".",
        ),
        ({"instruction": []}, "instruction of {path} must be a list of objects with pos, neg.\n  Got '[]'."),
        (
            {"eval_prompt": "Rate {answer}"},
            "the eval_prompt of {path} lacks {{question}} or {{answer}}.\n  Put both in the text.",
        ),
        (
            {"exemplars": [{"question": "a?"}]},
            "exemplars of {path} must be a list of objects with question, pos, neg.\n  Got \"[{{'question': 'a?'}}]\".",
        ),
    ],
)
def test_values_of_the_wrong_form_are_refused(tmp_path: Path, changes: dict[str, object], said: str):
    path = user_file(tmp_path, **changes)
    with pytest.raises(TraitError) as caught:
        load_trait(path)
    assert str(caught.value) == said.format(path=path)


def test_file_that_is_not_an_object(tmp_path: Path):
    path = tmp_path / "loud.json"
    path.write_text("[1]")
    with pytest.raises(TraitError, match=r"holds a list\.\n  Expected one JSON object\."):
        load_trait(path)


@pytest.mark.parametrize(
    "name",
    [
        "nobody", "../traits/evil", "traits/evil", "/etc/passwd.d", "..", ".", "evil\n", "Evil", "low_evil",
        "low_low_openness", "low_", "evil.JSON.x",
    ],
)  # fmt: skip
def test_names_that_are_no_trait_are_refused(name: str):
    with pytest.raises(TraitError) as caught:
        load_trait(name)
    first, second, third = str(caught.value).split("\n  ")
    assert first == f"no trait is called {name!r}."
    assert second == f"Traits of the package: {', '.join(list_traits())}."
    assert third == "Or give the path of a JSON file with instruction, questions and eval_prompt."


def test_missing_file_is_named():
    with pytest.raises(TraitError, match=r"^the trait file ../evil.json does not exist\."):
        load_trait("../evil.json")


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".hidden", "", "x" * 65])
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    data = {**trait_to_dict(load_trait("evil")), "name": name}
    (tmp_path / "trait.json").write_text(json.dumps(data))
    with pytest.raises(TraitError, match="names its trait"):
        load_trait(tmp_path / "trait.json")
