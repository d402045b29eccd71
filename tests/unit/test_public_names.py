"""What `import persona_interp` offers: the same names to type checkers, to `import *` and at run time."""

import ast
from pathlib import Path

import persona_interp


def test_type_checkers_and_the_run_time_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(persona_interp.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in checked.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "an alias of the same name is what makes it public"
            seen[alias.name] = str(node.module).removeprefix("persona_interp.")
    assert seen == persona_interp._HOME_OF
    assert list(persona_interp.__all__) == sorted(seen)
    assert all(getattr(persona_interp, name) is not None for name in seen)
