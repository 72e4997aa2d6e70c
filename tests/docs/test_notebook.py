from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

FILE = ROOT / "docs" / "first_comparison.ipynb"


def test_the_notebook_names_no_place_on_a_machine() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert not re.search(r"/(home|tmp|root|work|usr|Users)/|image/png", text)
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert {cell["execution_count"] for cell in code} == {None}
    assert all(cell["outputs"] == [] for cell in code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the notebook's own packages
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    notebook = nbformat.read(FILE, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("token" in str(output) for output in outputs)
