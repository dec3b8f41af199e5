"""docs/guidance.ipynb runs from its first cell to its last, and is stored small and clean."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import REPO
from tests.patience import PATIENCE_S

NOTEBOOK = REPO / "docs" / "guidance.ipynb"


def read() -> Any:
    return nbformat.reads(NOTEBOOK.read_text(), as_version=4)  # type: ignore[no-untyped-call]


def text_of(cell: Any) -> str:
    """What a cell printed and showed."""
    parts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(parts)


@pytest.mark.slow
def test_every_step_of_the_guidance_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = read()
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=int(PATIENCE_S), kernel_name="python3", resources=place).execute()
    said = "\n".join(text_of(cell) for cell in notebook.cells if cell.cell_type == "code")
    for words in ("training ended: 2 iterations are done", "laps complete", "exported guidance", "cost: $0.00"):
        assert words in said, said
    assert "OpenVINO and TensorFlow agree over" in said
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("runs", "exported", ".live")] == []
    assert [path for path in (tmp_path / ".live").rglob("*") if path.is_file()] == []
    assert list((tmp_path / "runs").iterdir()) == []
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 4


def test_what_is_stored_is_small_and_clean() -> None:
    notebook = read()
    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < 400_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom, once"
    for cell in code:
        assert not cell.metadata
        for output in cell.outputs:
            assert output.output_type in ("stream", "display_data", "execute_result")
            assert output.get("name") != "stderr", output.text
            assert "\x1b" not in output.get("text", ""), "no colours and spinners"
    assert not re.search(r"/(home|work|root|tmp|Users)/", "\n".join(text_of(cell) for cell in code))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
