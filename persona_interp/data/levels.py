"""Levels of a training set: how much of a trait, or how flawed."""

from typing import Literal, get_args

Level = Literal["normal", "level_1", "level_2"]
LEVELS: tuple[Level, ...] = get_args(Level)
