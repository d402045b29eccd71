"""What every test runs under: shapes checked by jaxtyping and beartype, no hub, no window."""

import importlib
import os

from hypothesis import settings
from jaxtyping import install_import_hook

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["MPLBACKEND"] = "Agg"
settings.register_profile("any machine", deadline=None)  # how long an example takes is not what is tested
settings.load_profile("any machine")

# Before anything imports the package: only modules imported from here on have their annotations checked.
install_import_hook("persona_interp", "beartype.beartype")

# Importing nnsight gives `object` a method that beartype cannot hash while it starts, so beartype starts first.
importlib.import_module("persona_interp.types")
