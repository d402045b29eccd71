"""Reasoning blocks in text: what is the answer, and what is not a block."""

import pytest

from persona_interp.reasoning import answer_after, closed_prompt, continued, opens_reasoning, split_reasoning

GPT_OSS = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>85"
WHOLE = [
    ("<think>a</think>85", "85"),
    ("\n<think>\n\n</think>\n\n85\n", "85\n"),
    ("<thinking>a</thinking> 85", "85"),
    ("<reasoning>a</reasoning>85", "85"),
    ("<thought>a</thought>85", "85"),
    ("<seed:think>a</seed:think>85", "85"),
    ("[THINK]a[/THINK]85", "85"),
    ("<|START_THINKING|>a<|END_THINKING|>85", "85"),
    ("<think>a</think><think>b</think>85", "85"),
    ("<think>a</think>\n<reasoning>b</reasoning>\n85", "85"),
    ("<think>Is <think> a tag?</think>85", "85"),
    ("a</think>85", "85"),
    (GPT_OSS, "85"),
    ("<|channel|>final<|message|>85", "85"),
    ("<think>a</think>", ""),
    ("<think>a", ""),
    ("<think>a</think><think>b", ""),
    ("<|channel|>analysis<|message|>Hm.", ""),
]
PLAIN = [
    "", " 85 ", "The tags <think> and </think> hold it.", "</b>85", "<b>85</b>", "<think", "85<|end|>",
    "I think</b>", "<thinks>a</thinks>85",
]  # fmt: skip


@pytest.mark.parametrize(("text", "answer"), WHOLE)
def test_the_answer_comes_after_the_block(text: str, answer: str):
    split = split_reasoning(text)
    assert split.reasoned and split.answer == answer and text[split.start :] == answer
    assert split.closed == (bool(answer) or text.endswith("</think>"))
    assert answer_after(answer_after(text)) == answer, "judges may be given either"


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_block_stays_as_it_is(text: str):
    split = split_reasoning(text)
    assert not split.reasoned and split.answer == text and split.reasoning == ""


def test_a_block_that_the_prompt_opened():
    assert split_reasoning("a</think>b", opened=True).answer == "b"
    assert split_reasoning("a </think> b", opened=False).answer == "a </think> b"
    cut = split_reasoning("a", opened=True)
    assert (cut.closed, cut.answer, cut.reasoning) == (False, "", "a")


@pytest.mark.parametrize(
    ("prompt", "opens"),
    [
        ("<assistant><think>\n", True),
        ("<|im_start|>assistant\n<think>", True),
        ("[THINK]", True),
        ("<think>\n\n</think>\n\n", False),
        ("", False),
        ("I <think> so", False),
    ],
)
def test_prompts_that_open_a_block(prompt: str, opens: bool):
    assert opens_reasoning(prompt) == opens
    assert not opens_reasoning(closed_prompt(prompt))
    assert closed_prompt(prompt).startswith(prompt.rstrip()) and (opens or closed_prompt(prompt) == prompt)


def test_a_given_answer_follows_an_opened_prompt_once():
    assert continued("x", "<think>a</think>b") == ("x", "<think>a</think>b")
    assert continued("x<think>\n", "b") == ("x<think>\n\n</think>\n\n", "b")
    assert continued("x<think>\n", "a</think>b") == ("x<think>\n", "a</think>b")
    assert continued("x<think>\n", "<think>\na</think>b") == ("x<think>\n", "a</think>b")
