"""The cell magic, in a real kernel."""

from __future__ import annotations

import os
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELLS = (
    """%load_ext stethoscope
import torch
from torch import nn
torch.manual_seed(0)
x = torch.randn(256, 4)
y = (x[:, 0] > 0).long()
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
def one():
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()""",
    """%%stethoscope --no-proof --store kept
for step in range(130):
    one()
done = step""",
    """%%stethoscope --no-proof
for step in range(130):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()""",
    """%%stethoscope --no-proof

model(torch.randn(3, 5))""",
    "%%stethoscope --loudly\n1 / 0",
    "print(done, torch.nn.functional.cross_entropy.__module__)",
    """import stethoscope
heard = stethoscope.watch(model, optimizer, proof=False)
for step in range(130):
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
heard.stop()
heard""",
    "%%stethoscope\nimport asyncio\nawait asyncio.sleep(0)\nawaited = True",
    "print('awaited' in globals())",
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """What each cell gave."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    client = nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    assert list((folder / "kept").glob("*/report.html"))
    return [cell.outputs for cell in notebook.cells]


def result(outputs: list[Any]) -> dict[str, str]:
    (found,) = (one["data"] for one in outputs if one["output_type"] == "execute_result")
    return dict(found)


def test_a_faulty_cell_gives_a_rich_report_with_the_line_of_its_cell(outputs: list[list[Any]]) -> None:
    bundle = result(outputs[1])
    assert set(bundle) == {"text/plain", "text/html", "text/markdown"}
    assert "In[1]:12" in bundle["text/plain"]
    assert "gradients are never cleared" in bundle["text/html"]


def test_it_speaks_while_the_cell_still_runs(outputs: list[list[Any]]) -> None:
    said = [one["text"] for one in outputs[1] if one["output_type"] == "stream"]
    assert any(text.startswith("stethoscope, step 60: gradients are never cleared") for text in said)
    assert any(one["output_type"] == "display_data" for one in outputs[1])


def test_a_healthy_cell_is_said_to_be_healthy(outputs: list[list[Any]]) -> None:
    assert "error" not in result(outputs[2])["text/markdown"]
    assert "warning" not in result(outputs[2])["text/markdown"]


def test_an_error_of_the_cell_is_shown_as_ever_and_explained(outputs: list[list[Any]]) -> None:
    assert [one["ename"] for one in outputs[3] if one["output_type"] == "error"] == ["RuntimeError"]
    assert "In[4]:3" in result(outputs[3])["text/plain"]


def test_a_wrong_option_is_a_sentence_and_runs_nothing(outputs: list[list[Any]]) -> None:
    (only,) = outputs[4]
    assert only["text"].startswith("stethoscope: `--loudly` cannot be read here; write %%stethoscope")


def test_names_of_the_cell_stay_and_torch_is_as_it_was(outputs: list[list[Any]]) -> None:
    assert outputs[5][0]["text"].split() == ["129", "torch.nn.functional"]


def test_lines_of_a_cell_without_the_magic_have_its_own_number(outputs: list[list[Any]]) -> None:
    assert "In[7]:5" in result(outputs[6])["text/plain"]


def test_a_cell_that_awaits_is_told_how_and_not_run(outputs: list[list[Any]]) -> None:
    (said,) = outputs[7]
    assert "with stethoscope.watch()" in said["text"]
    assert outputs[8][0]["text"].strip() == "False"
