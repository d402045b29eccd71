"""Every notebook runs from top to bottom."""

from pathlib import Path

import jupytext
import nbclient
import pytest

from persona_interp.models.packaged import PACKAGED_MODELS, is_installed

LONG = ("first_vector", "styles_adapters_inventories")
"""Take half a minute or more; what they call has tests of its own."""

NOTEBOOKS = [
    pytest.param(path, marks=[pytest.mark.slow] if path.stem in LONG else [], id=path.stem)
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))
]


@pytest.mark.skipif(not is_installed(PACKAGED_MODELS["smollm2-135m-instruct"]), reason="SmolLM2 is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS)
def test_notebook_runs(path: Path) -> None:
    notebook = jupytext.read(path)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs and all(output["output_type"] != "error" for output in outputs)
