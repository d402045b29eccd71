"""Packages that only some readers need, imported when they do."""

import importlib
from typing import Any

from persona_interp.errors import MissingPackageError


def imported(module: str, package: str, what: str) -> Any:
    """A module of an optional package.

    Raises:
        MissingPackageError: it is not installed; `what` says what needs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingPackageError(
            f"{what} cannot be read: the package {package} is not installed.", f"Install it: pip install {package}"
        ) from error
