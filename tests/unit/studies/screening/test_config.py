"""Which numbers a screening has, and what they are called."""

from dataclasses import replace

import pytest

from persona_interp.directions.direction import Direction
from persona_interp.errors import ConfigError, MissingPackageError
from persona_interp.studies.screening import config as module
from persona_interp.studies.screening.config import (
    Channel,
    ScreenConfig,
    channels,
    check_engine,
    choose_score,
)
from persona_interp.types import default_layer


@pytest.mark.parametrize(("n_layers", "layer"), [(1, 0), (2, 0), (3, 1), (28, 16), (30, 17), (32, 18)])
def test_the_default_layer_lies_at_six_tenths_of_the_depth(n_layers: int, layer: int) -> None:
    assert default_layer(n_layers) == layer


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"layers": ()}, "layers must be a list of whole numbers that is not empty"),
        ({"layers": (1, 1)}, "layers must each be there once"),
        ({"batch_rows": 0}, "batch_rows must be 1 to 65536"),
        ({"max_new_tokens": 0}, "max_new_tokens must be 1 to"),
    ],
)
def test_values_that_cannot_be_screened_with_are_refused(changes: dict, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        replace(ScreenConfig((1,)), **changes)


def test_columns_say_direction_layer_and_score(directions: tuple[Direction, ...]) -> None:
    config = ScreenConfig((0, 2), delta="none", judge="embedding")
    found = channels(directions, config, [False, True])
    assert [(c.name, c.direction, c.layer) for c in found] == [
        *(("loud", 0, layer) for layer in (0, 2)),
        *(("evil", 1, layer) for layer in (0, 2)),
    ]
    assert found[1].column("prompt_last") == "loud_layer2_prompt_last"
    assert found[0].scores(config) == ("projection", "prompt_last")
    assert found[3].scores(config) == ("projection", "prompt_last", "judge")
    assert found[2].column("judge") == found[3].column("judge") == "evil_judge"


def test_directions_of_one_trait_are_told_apart_by_method(directions: tuple[Direction, ...]) -> None:
    loud = directions[0]
    twins = (loud, replace(loud, method="probe"))
    assert [c.name for c in channels(twins, ScreenConfig((1,)), [False] * 2)] == [
        "loud (persona_vector)",
        "loud (probe)",
    ]
    with pytest.raises(ConfigError, match=r"two directions are called loud \(persona_vector\)"):
        channels((loud, loud), ScreenConfig((1,)), [False] * 2)
    with pytest.raises(ConfigError, match="at least one direction, got none"):
        channels((), ScreenConfig((1,)), [])


def test_samples_are_ranked_by_the_difference_unless_there_is_none_or_another_was_asked_for() -> None:
    every = (Channel("loud", 0, 1, judged=True), Channel("evil", 1, 1))
    config = ScreenConfig((1,), judge="embedding")
    assert choose_score(config, None, every) == "difference"
    assert choose_score(replace(config, delta="none"), None, every) == "projection"
    assert choose_score(config, "judge", every[:1]) == "judge"
    with pytest.raises(ConfigError, match="'judge': evil has no such score"):
        choose_score(config, "judge", every)
    with pytest.raises(ConfigError, match=r"'difference'(.|\n)*It has projection, prompt_last"):
        choose_score(replace(config, delta="none", judge=None), "difference", every)


def test_an_engine_must_exist_and_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_engine("local")
    with pytest.raises(ConfigError, match=r"no engine is called 'spark'(.|\n)*local, ray"):
        check_engine("spark")
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    check_engine("local")
    with pytest.raises(MissingPackageError, match=r"persona-interp\[ray\]"):
        check_engine("ray")
