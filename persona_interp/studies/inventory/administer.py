"""Inventories administered by log-probabilities of the answer options, under any intervention; nothing is sampled."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from persona_interp.arguments import checked
from persona_interp.bounds import Seed, Some, Text
from persona_interp.data.inventories import ForcedChoice, Inventory, Item, Wording
from persona_interp.data.inventory_wordings import NEUTRAL, spoken
from persona_interp.errors import AlignmentError, ConfigError
from persona_interp.interventions.protocol import Intervention
from persona_interp.measurements.text_logprobs import text_logprobs
from persona_interp.models.protocol import HookedModel
from persona_interp.models.tokens import encode, render_prompt
from persona_interp.statistics.streams import stream
from persona_interp.studies.inventory.answers import ANSWER_KEYS, NORMALISATIONS, InventoryAnswers, check_names

Order = Literal["given", "reversed", "shuffled"]
"""How options are listed: as the inventory has them, backwards, or shuffled for each item.

Wordings that list no options are administered once, with the order `unlisted`.
"""

ORDERS: tuple[Order, ...] = get_args(Order)
_GAP = " "

Kept = Callable[[Callable[[], pd.DataFrame]], pd.DataFrame]
"""The table that was kept, or the one that is made now."""


@dataclass(frozen=True)
class _Question:
    """An item as it is put: what its rows share, the prompt, and its answers with their values."""

    shared: Mapping[str, Any]
    prompt: str
    neutral: str
    answers: tuple[str, ...]
    values: tuple[int, ...]


@checked
def administer(
    model: HookedModel,
    inventory: Inventory,
    *,
    intervention: Intervention | None = None,
    system: Text | None = None,
    respondents: Some[str] | None = None,
    wordings: Some[str] | None = None,
    orders: Some[str] = ("given", "reversed"),
    normalise: str | None = None,
    condition: str | None = None,
    calibration: InventoryAnswers | None = None,
    keep: Kept | None = None,
    seed: Seed = 0,
    progress: bool = True,
) -> InventoryAnswers:
    """Every item in every wording and order of options, answered by log p(option | prompt).

    An option of several tokens has the sum of their log-probabilities, which is its probability as an answer. That
    is the default where options are listed: it is what the model would say, yes-saying included, and balanced keys
    and both orders cancel the rest. Where statements are said rather than listed, the default is `pmi`: their texts
    differ in how common they are.

    Args:
        intervention: the answer counts as the response.
        respondents: system prompts, each of which makes a respondent; instead of `system`.
        wordings: names; default: all of the inventory.
        orders: of the listed options (see `Order`).
        normalise: how answers are compared (see `Normalise`).
        condition: name in tables; default: `baseline`, or what was given.
        calibration: earlier answers of this model, asked in the same way, whose neutral items need not be asked again.
        keep: what keeps the log-probabilities of the options; default: nothing.

    Raises:
        ConfigError: a wording, order or normalisation is unknown, `system` and `respondents` were both given, or the
            model gives log-probabilities that are not finite.
        AlignmentError: the calibration is of another model, or was asked otherwise.
        IncompatibleDirectionError: the intervention was made for another model.
        ContextLengthError: a prompt is longer than the model's context.
    """
    check_names("orders", orders, ORDERS)
    check_names("normalise", (normalise,), (None, *NORMALISATIONS))
    asked = _wordings(inventory, wordings)
    systems = _systems(system, respondents)

    def made() -> pd.DataFrame:
        questions = [
            question
            for respondent, said in enumerate(systems)
            for wording in asked
            for order in (dict.fromkeys(orders) if wording.format != "statement" else ("unlisted",))
            for question in _questions(model, inventory, wording, order, respondent, said, seed)
        ]
        logprobs = _scored(model, [q.prompt for q in questions], questions, intervention, inventory.name, progress)
        frame = _option_frame(model, questions, logprobs)
        if calibration is None:
            neutral = _scored(model, [q.neutral for q in questions], questions, None, "calibration", progress)
        else:
            neutral = _neutral_of(calibration, frame, model.name)
        return frame.assign(neutral=neutral)

    return InventoryAnswers(
        inventory=inventory,
        options=made() if keep is None else keep(made),
        model=model.name,
        normalise=normalise,
        condition=condition or _condition(intervention, system, respondents),
        respondents=systems,
        provenance={
            "model": model.provenance.to_dict(),
            "inventory": {"name": inventory.name, "hash": inventory.data_hash, "source": inventory.source},
            "wordings": [wording.name for wording in asked],
            "orders": list(orders),
            "seed": seed,
        },
    )


def _questions(
    model: HookedModel,
    inventory: Inventory,
    wording: Wording,
    order: str,
    respondent: int,
    system: str | None,
    seed: int,
) -> Iterator[_Question]:
    """The items of one wording and order."""
    gap = _GAP if model.tokenizer.chat_template is None else ""
    empty = render_prompt(model.tokenizer, wording.neutral_frame) if wording.format == "statement" else ""
    for index, item in enumerate(inventory.items):
        texts, values, neutral_texts = _listed(inventory, item, wording)
        places = _places(len(texts), order, stream(seed, "order of options", index))
        listed, without = ([some[place] for place in places] for some in (texts, neutral_texts))
        statement = spoken(item.text, wording.person) if isinstance(item, Item) else ""
        prompt = render_prompt(model.tokenizer, wording.prompt(listed, statement), system=system)
        content_free = wording.prompt(without, spoken(NEUTRAL[0], wording.person))
        yield _Question(
            shared={
                "respondent": respondent,
                "wording": wording.name,
                "format": wording.format,
                "order": order,
                "item": index,
                "scale": item.scale,
                "key": item.key if isinstance(item, Item) else 1,
            },
            prompt=prompt,
            neutral=empty or render_prompt(model.tokenizer, content_free),
            answers=tuple(f"{gap}{code}" for code in wording.codes(listed)),
            values=tuple(values[place] for place in places),
        )


def _listed(
    inventory: Inventory, item: Item | ForcedChoice, wording: Wording
) -> tuple[list[str], list[int], list[str]]:
    """Options in the inventory's order, what each is worth, and their neutral twins."""
    if isinstance(item, Item):
        return list(wording.labels), list(range(1, len(wording.labels) + 1)), list(wording.labels)
    first = inventory.scale(item.scale).poles[0]
    texts = [spoken(option.text, wording.person) for option in item.options]
    return texts, [int(option.pole == first) for option in item.options], [spoken(t, wording.person) for t in NEUTRAL]


def _places(n: int, order: str, rng: np.random.Generator) -> list[int]:
    """Which option is listed at each place."""
    if order == "shuffled":
        return rng.permutation(n).tolist()
    return list(range(n)) if order != "reversed" else list(range(n))[::-1]


def _scored(
    model: HookedModel,
    prompts: Sequence[str],
    questions: Sequence[_Question],
    intervention: Intervention | None,
    label: str,
    progress: bool,
) -> Float[np.ndarray, " _"]:
    """The summed log-probability of every answer of every question, in order; nats.

    Equal pairs of prompt and answer are computed once, and so are equal prompts.
    """
    put = [prompt for prompt, q in zip(prompts, questions, strict=True) for _ in q.answers]
    answers = [answer for q in questions for answer in q.answers]
    scored = text_logprobs(model, put, answers, intervention, label=label, progress=progress)
    found = np.array([logprobs.sum() for logprobs in scored])
    if bad := int((~np.isfinite(found)).sum()):
        raise ConfigError(
            f"{bad} of {len(found)} log-probabilities are not finite ({label}).",
            "The model's numbers overflow: use a smaller coefficient, or float32.",
        )
    return found


def _option_frame(
    model: HookedModel,
    questions: Sequence[_Question],
    logprobs: Float[np.ndarray, " _"],
) -> pd.DataFrame:
    """One row an option, without its calibration."""
    answers = [answer for question in questions for answer in question.answers]
    distinct = list(dict.fromkeys(answers))
    lengths = dict(zip(distinct, map(len, encode(model.tokenizer, distinct)), strict=True))
    rows = [
        {**q.shared, "position": -1 if q.shared["format"] == "statement" else position, "value": value}
        for q in questions
        for position, value in enumerate(q.values)
    ]
    frame = pd.DataFrame(rows, columns=[*ANSWER_KEYS, "position", "value"])
    return frame.assign(
        option=[answer.strip() for answer in answers],
        logprob=logprobs,
        n_tokens=[lengths[answer] for answer in answers],
    )


def _neutral_of(calibration: InventoryAnswers, frame: pd.DataFrame, model: str) -> Float[np.ndarray, " _"]:
    """The neutral log-probabilities of the same options, the same for every respondent."""
    keys = ["wording", "order", "item", "position", "value", "option"]
    first = calibration.options[calibration.options["respondent"] == 0]
    same = calibration.model == model and len(frame) % len(first) == 0
    times = len(frame) // len(first) if same else 0
    if not same or frame[keys].to_numpy().tolist() != first[keys].to_numpy().tolist() * times:
        raise AlignmentError(
            f"the calibration ({calibration.model}, {calibration.condition}) is not of this model and these options.",
            "Give answers of the same model to the same inventory, in the same wordings and orders.",
        )
    return np.tile(first["neutral"].to_numpy(), times)


def _wordings(inventory: Inventory, names: Sequence[str] | None) -> list[Wording]:
    known = {wording.name: wording for wording in inventory.wordings}
    check_names("wordings", known if names is None else names, known)
    return list(inventory.wordings) if names is None else [known[name] for name in dict.fromkeys(names)]


def _systems(system: str | None, respondents: Sequence[str] | None) -> tuple[str | None, ...]:
    if respondents is None:
        return (system,)
    if system is not None:
        raise ConfigError(
            "got both system and respondents.", "Each respondent is a system prompt; give one of the two."
        )
    if not respondents or len(set(respondents)) < len(respondents):
        raise ConfigError(
            f"respondents must be different system prompts, got {len(respondents)} with one twice, or none."
        )
    return tuple(respondents)


def _condition(intervention: Intervention | None, system: str | None, respondents: Sequence[str] | None) -> str:
    said = None if respondents is None else f"{len(respondents)} respondents"
    parts = [said, None if system is None else "system prompt", None if intervention is None else "intervention"]
    return " + ".join(part for part in parts if part) or "baseline"
