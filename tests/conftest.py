"""What every test runs under: shapes checked by jaxtyping and beartype, no hub, no window."""

import importlib
import os
from typing import Any

from beartype import beartype
from hypothesis import settings
from jaxtyping import install_import_hook, jaxtyped

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["MPLBACKEND"] = "Agg"
settings.register_profile("any machine", deadline=None)  # how long an example takes is not what is tested
settings.load_profile("any machine")

# Before anything imports the package: only modules imported from here on have their annotations checked.
install_import_hook("persona_interp", "beartype.beartype")

# The hook decorates functions innermost but classes outermost; in dataclasses too, arguments are checked before shapes.
arguments: Any = importlib.import_module("persona_interp.arguments")
_checked = arguments.checked
arguments.checked = lambda what: _checked(jaxtyped(what, typechecker=beartype) if isinstance(what, type) else what)

# Importing nnsight gives `object` a method that beartype cannot hash while it starts, so beartype starts first.
importlib.import_module("persona_interp.types")
