"""Errors a user can cause: what failed, what was given, what was expected, what to do."""

import re

_LONGEST = 2000
"""Characters of a message, whatever was given."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class PersonaInterpError(Exception):
    """Base of every error that this package raises for a caller's mistake.

    The message is one paragraph: a first line that says what failed and what was given, then indented
    lines that say what was expected and what to do. Characters that cannot be printed are escaped, and the middle of a
    message of over 2,000 characters is left out.
    """

    def __init__(self, what: str, *advice: str) -> None:
        text = _UNPRINTABLE.sub(lambda found: repr(found[0])[1:-1], "\n  ".join([what, *advice]))
        half = _LONGEST // 2
        super().__init__(text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]}")


def first_line(error: Exception) -> str:
    """What an error says first, to be told in another one."""
    return str(error).partition("\n")[0].rstrip(".")


class ModelError(PersonaInterpError):
    """A model cannot be found, loaded or trusted."""


class HookpointError(PersonaInterpError):
    """A layer or stream does not exist in this model, or cannot be reached."""


class ContextLengthError(PersonaInterpError):
    """A prompt, or a prompt with its answer, is longer than the model's context."""


class TraitError(PersonaInterpError):
    """A trait is unknown or its file is not in the expected form."""


class ArtefactError(PersonaInterpError):
    """A file on disk is missing, truncated, altered, or of another kind."""


class IncompatibleDirectionError(PersonaInterpError):
    """A direction belongs to another model or another width."""


class AlignmentError(PersonaInterpError):
    """Two objects that must match differ in hookpoints, pooling, rows or model."""


class EmptySelectionError(PersonaInterpError):
    """A filter or a selection left nothing to compute with."""


class ConfigError(PersonaInterpError):
    """An option has a value that cannot be used, or an output folder belongs to another configuration."""


class MissingPackageError(PersonaInterpError):
    """An optional package that this step needs is not installed."""


class EndpointError(PersonaInterpError):
    """A server cannot be reached, or refuses every request: wrong key, unknown model, no credit left."""


class DataError(PersonaInterpError):
    """A data set holds no usable conversation, or a row of it cannot be one."""


class TrainingError(PersonaInterpError):
    """A training run cannot go on: its loss is not finite, or a checkpoint does not belong to it."""
