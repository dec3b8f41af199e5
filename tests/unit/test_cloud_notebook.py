"""The notebook of the notebook instance: its cells run from the first to the last against moto's server over HTTP, with
the jobs as processes, and fit where the stack carries them."""

import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.aws_server import BUCKET, SageMaker
from tests.cloud_support import Here, here
from tests.patience import PATIENCE_S
from tests.unit.test_notebook import text_of
from undercut.backends.aws import notebook
from undercut.backends.aws.template import template

__all__ = ["here"]


def test_the_notebook_fits_in_a_parameter_and_holds_no_outputs() -> None:
    """CloudFormation: a parameter's value has 4,096 bytes at most."""
    assert len(notebook.text()) <= 4096 and template()["Parameters"]["NotebookText"]["Default"] == ""
    stored = nbformat.reads(notebook.NOTEBOOK.read_text(), as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(stored)
    assert not any(cell.outputs or cell.execution_count for cell in stored.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_every_step_of_the_guidance_runs_in_the_cloud(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker = SageMaker(here.server, tmp_path / "ml")
    text = notebook.NOTEBOOK.read_text().replace(
        'ITERATIONS, MAX_COST = \\"guidance\\", 20,', 'ITERATIONS, MAX_COST = \\"guidance\\", 1,'
    )
    cells = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{Path('/usr/bin')}:{Path('/bin')}")
    place = {"metadata": {"path": str(here.folder)}}
    NotebookClient(cells, timeout=int(PATIENCE_S), kernel_name="python3", resources=place).execute()
    sagemaker.join()
    said = "\n".join(text_of(cell) for cell in cells.cells if cell.cell_type == "code")
    for words in ("brought runs/guidance", "it did cost about $", "exported guidance", "Completed"):
        assert words in said, said
    asked = here.server.asked("CreateTrainingJob")
    assert [one["HyperParameters"].get("job", "train") for one in asked] == ["train", "evaluate"]
    kept = here.server.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="runs/guidance/")["Contents"]
    assert any(one["Key"].endswith("evaluation_metrics.json") for one in kept)
