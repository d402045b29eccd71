"""What a study says that it will do: sizes by effort, plans that grow with them, and speeds that are measured once."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from persona_interp.data.inventories import load_inventory
from persona_interp.data.styles import load_styles
from persona_interp.models.hooked import HookedModelBase
from persona_interp.models.speed import Speed, measure_speed, measure_training_speed
from persona_interp.studies import plan
from persona_interp.studies.finetuning import effort as finetuning
from persona_interp.studies.inventory.effort import EFFORTS as INVENTORY
from persona_interp.studies.inventory.effort import first_wordings
from persona_interp.studies.inventory.plan import inventory_plan
from persona_interp.studies.plan import Step, announce, keep_speed, kept_speed, say_plan, total_seconds
from persona_interp.studies.psychadapter import effort as psychadapter
from persona_interp.studies.psychadapter.measures import AdapterMeasures
from persona_interp.studies.psychadapter.plan import measuring_plan, training_plan
from persona_interp.studies.psychadapter.settings import PsychAdapterSettings
from persona_interp.studies.sizes import Sizes, cut_lines, cut_sentence, sizes_of
from persona_interp.studies.styles.arms import StyleSteering
from persona_interp.studies.styles.config import StyleRun
from persona_interp.studies.styles.effort import EFFORTS as STYLES
from persona_interp.studies.styles.effort import style_plan

SPEED = Speed(200.0, 600.0)
EMOTION, BIG_FIVE = load_styles("emotion"), load_inventory("big_five_50")
ALL = {
    "styles": STYLES,
    "inventory": INVENTORY,
    "train": psychadapter.TRAINING,
    "measure": psychadapter.MEASURING,
    "finetune": finetuning.EFFORTS,
}
COUNTS = st.integers(3, 50)


def test_standard_is_what_each_command_had_before_it_had_sizes():
    assert STYLES["standard"] == {
        **{"n_sentences": None, "n_questions": 20, "n_selection": 8, "n_random": 100, "max_new_tokens": 48}
    }
    assert INVENTORY["standard"] == {"n_wordings": None, "orders": ("given", "reversed")}
    assert psychadapter.TRAINING["standard"] == {"n_texts": None, "n_epochs": None}
    assert psychadapter.ESTIMATED["standard"] == 1000
    assert psychadapter.MEASURING["standard"] == {"n_texts": 200, "n_openings": 16, "max_new_tokens": 48}
    assert finetuning.EFFORTS["standard"] == {"n_samples": None, "n_epochs": None}


@pytest.mark.parametrize("name", ALL)
def test_what_is_given_wins_over_the_effort(name: str):
    efforts = ALL[name]
    assert set(efforts) == {"quick", "standard", "paper"}
    for effort, sizes in efforts.items():
        assert sizes_of(efforts, effort, dict.fromkeys(sizes)).values == sizes
        assert set(sizes) == set(efforts["standard"])
        for size in sizes:
            assert sizes_of(efforts, effort, {size: 7}).values == {**sizes, size: 7}


def test_the_sentence_names_what_is_less_and_nothing_else():
    standard = {"n_texts": None, "n_questions": 20, "orders": ("given", "reversed"), "sweep": "all"}
    assert cut_sentence("standard", standard, standard) == "Effort standard."
    assert cut_sentence("paper", {**standard, "n_questions": 50}, standard) == "Effort paper."
    said = cut_sentence("quick", {"n_texts": 5, "n_questions": 6, "orders": ["given"], "sweep": "chosen"}, standard)
    assert said == (
        "Effort quick. Cut against standard: texts 5 instead of all, questions 6 instead of 20,"
        " orders given instead of given, reversed, sweep chosen instead of all."
    )
    assert cut_lines(Sizes("standard", {"n_texts": None}), standard) == []
    assert cut_lines(Sizes("standard", {"n_texts": 5}), standard) == [
        "Effort standard. Cut against standard: texts 5 instead of all."
    ]


def styles_seconds(**sizes: int) -> float:
    steering = StyleSteering(((3,),), n_random=sizes["n_random"], max_new_tokens=sizes["max_new_tokens"])
    run = StyleRun(steering, n_questions=sizes["n_questions"], n_selection=sizes["n_selection"])
    used = EMOTION.take(sizes["n_sentences"], seed=0)
    return total_seconds(style_plan(run, used, used.styles, n_layers=30, d_model=576), SPEED)


def measuring_seconds(*, n_texts: int, n_openings: int, max_new_tokens: int) -> float:
    about = {"n_traits": 5, "n_judged": 5, "n_judges": 2, "likelihood": True}
    measures = AdapterMeasures(n_texts=n_texts, n_openings=n_openings, max_new_tokens=max_new_tokens)
    return total_seconds(measuring_plan(measures, [20] * n_texts, **about), SPEED)


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries({name: COUNTS for name in STYLES["quick"]}), st.sampled_from(sorted(STYLES["quick"])))
def test_more_of_any_size_of_styles_takes_longer(sizes: dict[str, int], grown: str):
    assert styles_seconds(**{**sizes, grown: sizes[grown]}) <= styles_seconds(**{**sizes, grown: 50})


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries({name: COUNTS for name in psychadapter.MEASURING["quick"]}),
    st.sampled_from(sorted(psychadapter.MEASURING["quick"])),
)
def test_more_of_any_size_of_an_adapter_takes_longer(sizes: dict[str, int], grown: str):
    assert measuring_seconds(**sizes) < measuring_seconds(**{**sizes, grown: sizes[grown] + 10})


def test_quick_is_a_few_minutes_of_a_slow_machine_and_paper_takes_longest():
    for name, seconds in (("styles", styles_seconds), ("measure", measuring_seconds)):
        sizes = {effort: {n: v or 65 for n, v in of.items()} for effort, of in ALL[name].items()}
        took = {effort: seconds(**of) for effort, of in sizes.items()}
        assert took["quick"] < 360 and took["quick"] < took["standard"] < took["paper"], name


def test_an_inventory_is_asked_in_every_wording_and_order():
    def asked(n_wordings: int | None, orders: tuple[str, ...], **more: object) -> int:
        steps = inventory_plan([first_wordings(BIG_FIVE, n_wordings)], n_conditions=1, orders=orders, **more)  # pyright: ignore
        return steps[0].n

    assert asked(1, ("given",)) == 50 and asked(None, ("given", "reversed")) == 50 * 3 * 2
    assert asked(None, ("given",), respondents=("a", "b"), wordings=("frequency_words",)) == 100
    assert first_wordings(BIG_FIVE, 1).data_hash != BIG_FIVE.data_hash, "a folder belongs to one of them"
    choices = load_inventory("types_32")
    assert inventory_plan([choices], n_conditions=2, orders=("given", "reversed"))[0].n == 2 * 32 * (3 + 2 * 2)


def test_training_goes_over_every_token_in_every_epoch():
    step, held = training_plan(PsychAdapterSettings(n_epochs=3), [5, 7], [4])
    assert (step.n, step.trained, held.read) == (6, 36, 12)
    assert finetuning.training_plan(10, 20, n_epochs=1.5)[0].trained == 300


def test_tokens_take_what_the_speeds_say():
    assert Step("x", 1, written=200, read=600, other_s=1.0).seconds(SPEED) == 3.0
    assert Step("x", 1, trained=200).seconds(SPEED) == 1.0, "three forward passes"
    assert Step("x", 1, trained=200, read=300).seconds(Speed(0.0, 0.0, 100.0)) == 3.0
    assert SPEED.words() == "200 tokens a second written and 600 read"
    assert Speed(0.0, 0.0, 50.0).words() == "50 tokens a second trained"


def test_a_speed_is_measured_longer_where_it_is_worth_it_and_kept(tmp_path: Path):
    asked: list[float] = []

    def measure(seconds: float) -> Speed:
        asked.append(seconds)
        return replace(SPEED, written=SPEED.written + seconds)

    path, long = tmp_path / "speed.json", [Step("x", 1, written=200 * 60)]
    assert kept_speed([Step("x", 1, written=200)], measure) == SPEED and asked == [0.0]
    found = kept_speed(long, measure, path)
    assert asked == [0.0, 0.0, 2.0] and found.written == 202.0
    keep_speed(path, found)
    keep_speed(path, SPEED)
    assert kept_speed(long, measure, path) == found and len(asked) == 3
    path.write_text('{"written": 5.0, "read": 6.0}')
    assert kept_speed(long, measure, path) == Speed(5.0, 6.0), "of an earlier version"


def test_a_plan_is_said_from_a_minute_on_unless_all_is_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: HookedModelBase, tmp_path: Path
):
    monkeypatch.delenv("PERSONA_INTERP_QUIET", raising=False)
    announce("small", [Step("answers", 10, written=200 * 59)], SPEED)
    assert capsys.readouterr() == ("", "")
    announce("large", [Step("answers", 1234, written=200 * 90)], SPEED, notes=["Cut."])
    out, said = capsys.readouterr()
    assert out == "" and "large: about 2 minutes at 200 tokens a second written and 600 read" in said
    assert "Cut." in said and "1,234" in said and "1.5" in said
    monkeypatch.setenv("PERSONA_INTERP_QUIET", "1")
    announce("large", [Step("answers", 10, written=200 * 90)], SPEED)
    say_plan("large", [Step("answers", 10, written=10**9)], model, folder=tmp_path, study="x")
    assert capsys.readouterr() == ("", "") and not list(tmp_path.iterdir())
    monkeypatch.delenv("PERSONA_INTERP_QUIET")
    monkeypatch.setattr(plan, "WORTH_SAYING", math.inf)
    say_plan("large", [Step("answers", 10, written=10**9)], model, folder=tmp_path, study="x")
    assert [path.name for path in tmp_path.iterdir()] == ["speed_x.json"]


def test_speeds_of_what_is_needed_and_of_training_that_changes_nothing(model: HookedModelBase):
    assert measure_speed(model, seconds=0.0, writes=False).written == 0.0
    assert measure_speed(model, seconds=0.0, reads=False).read == 0.0
    config = LlamaConfig(
        vocab_size=120, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    plain = LlamaForCausalLM(config)
    torch.manual_seed(3)
    before, drawn = {name: weight.clone() for name, weight in plain.state_dict().items()}, torch.random.get_rng_state()
    assert measure_training_speed(plain, seconds=0.0).trained > 0
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert all(torch.equal(weight, before[name]) for name, weight in plain.state_dict().items())
    assert all(weight.grad is None for weight in plain.parameters())
