"""`stethoscope lint`, as a person starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from linting_files import BAD, lint

import stethoscope
from stethoscope.cli.lint import command
from stethoscope.core.errors import UsageError

GOOD = BAD.replace("    optimizer.step()", "    optimizer.step()\n    optimizer.zero_grad()")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def document(*arguments: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(lint(*arguments, "--format", "json")[1])
    return loaded


def test_a_finding_is_printed_with_its_lines_and_gives_exit_code_1(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    code, output = lint("train.py")

    assert code == 1
    assert "error: `optimizer` steps in a loop that never clears gradients" in output
    assert "8 | optimizer.step()" in output
    assert "1 error in 1 file; 1 training loop checked" in output


def test_nothing_found_is_exit_code_0_and_says_how_much_was_read(folder: Path) -> None:
    (folder / "train.py").write_text(GOOD)
    (folder / "other.py").write_text("x = 1\n")

    code, output = lint(".")

    assert code == 0
    text = " ".join(output.split())
    assert text == "nothing wrong found in 2 files, 1 of them with training code; 1 training loop checked"


def test_a_path_that_does_not_exist_is_told_and_the_rest_is_done(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    code, output = lint("nowhere.py", "train.py")

    assert code == 2
    assert "missing: there is no file or folder 'nowhere.py'" in output
    assert "1 error" in output


def test_a_file_that_cannot_be_read_costs_the_others_nothing(folder: Path) -> None:
    (folder / "a.py").write_text("import torch.nn as nn\nclass A(nn.Module:\n")
    (folder / "b.py").write_bytes(b"zero_grad \0")
    (folder / "c.py").write_text(BAD)

    code, output = lint(".")

    assert code == 1
    assert "not analysed: a.py does not parse at line 2" in output
    assert "not analysed: b.py holds null bytes" in output
    assert "1 error in 1 file; 2 not analysed" in output


def test_an_allowed_finding_is_silent_and_counted(folder: Path) -> None:
    (folder / "train.py").write_text(BAD + "# stethoscope: allow missing-zero-grad -- accumulates on purpose\n")

    code, output = lint("train.py")

    assert code == 0
    assert "silenced: train.py:8" in output
    assert "[missing-zero-grad]: accumulates on purpose" in " ".join(output.split())
    assert "1 silenced" in output


def test_without_a_reason_it_stays(folder: Path) -> None:
    (folder / "train.py").write_text(BAD + "# stethoscope: allow missing-zero-grad\n")

    code, output = lint("train.py")

    assert code == 1
    assert "without a reason" in output


def test_a_notebook_is_told_by_cell_and_line(folder: Path) -> None:
    first, last = BAD.split("for x")
    cells = [{"cell_type": "markdown", "source": "Title"}] + [
        {"cell_type": "code", "source": text} for text in ("!pip install torch\n" + first, "for x" + last)
    ]
    (folder / "nb.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}))

    place = document("nb.ipynb")["findings"][0]["place"]  # type: ignore[index]

    assert (place["cell"], place["line"], place["text"]) == (3, 3, "optimizer.step()")


def test_standard_input_is_read_in_the_place_of_its_file(folder: Path) -> None:
    code, output = lint("-", "--stdin-filename", "here/train.py", text=BAD)

    assert code == 1
    assert "here/train.py:8" in output


def test_possible_findings_and_notes_are_shown_when_asked_for(folder: Path) -> None:
    text = "from torch import nn\nm = nn.Sequential(nn.Linear(2, 2), nn.LogSoftmax(dim=1))\n"
    (folder / "train.py").write_text(text + "print(nn.functional.cross_entropy(m(1), 2))\n")

    assert lint("train.py")[0] == 0
    assert "1 finding below this level" in lint("train.py")[1].replace("\n", " ")
    assert lint("train.py", "--notes")[0] == 1
    assert lint("train.py", "--notes", "--fail-on", "error")[0] == 0


def test_what_a_test_does_on_purpose_is_only_possible(folder: Path) -> None:
    (folder / "tests").mkdir()
    (folder / "tests" / "train.py").write_text(BAD)

    assert lint("tests")[0] == 0
    assert lint("tests", "--all")[0] == 1


def test_unchanged_files_are_remembered_until_what_they_import_changes(folder: Path) -> None:
    (folder / "steps.py").write_text("def clear(o):\n    o.zero_grad()\n")
    (folder / "train.py").write_text(BAD.replace("import torch\n", "import torch\nfrom steps import clear\n", 1)
                                     + "    clear(optimizer)\n")  # fmt: skip
    assert lint("train.py")[0] == 0
    assert lint("train.py")[0] == 0
    (folder / "steps.py").write_text("def clear(o):\n    o.zero_grad\n")
    assert lint("train.py")[0] == 1
    assert (folder / ".stethoscope_cache" / ".gitignore").read_text() == "*\n"
    (folder / ".stethoscope_cache" / "lint.json").write_text("{")
    assert lint("train.py")[0] == 1


def test_many_files_are_read_by_several_processes_with_the_same_result(folder: Path) -> None:
    for number in range(60):
        (folder / f"train{number}.py").write_text(BAD if number % 2 else GOOD)

    one = document(".", "--no-cache", "--processes", "1")["findings"]
    two = document(".", "--no-cache", "--processes", "2")["findings"]

    assert one == two
    assert len(one) == 30  # type: ignore[arg-type]


def test_a_finding_in_an_imported_file_is_told_once(folder: Path) -> None:
    (folder / "steps.py").write_text("def step(m, o, x):\n    m(x).sum().backward()\n    o.step()\n")
    for name in ("a.py", "b.py"):
        (folder / name).write_text(
            "import torch\nfrom steps import step\nm = torch.nn.Linear(1, 1)\no = torch.optim.SGD(m.parameters())\n"
            "for x in [1, 2]:\n    step(m, o, x)\n"
        )

    findings = document(".")["findings"]

    assert [(f["rule"], f["place"]["file"]) for f in findings] == [("missing-zero-grad", "steps.py")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["a_steps", "z_steps"])
def test_a_finding_stands_where_most_is_known_of_it_whichever_file_comes_first(folder: Path, name: str) -> None:
    """Alone, a function that steps without a loop may be one whose caller clears."""
    (folder / f"{name}.py").write_text(
        "import torch\n\ndef step(model, batch, criterion, optimizer):\n    loss = criterion(model(batch), batch)\n"
        "    loss.backward()\n    optimizer.step()\n    return loss.item()\n"
    )
    (folder / "train.py").write_text(
        f"import torch\nfrom torch.utils.data import DataLoader\nfrom {name} import step\nm = torch.nn.Linear(1, 1)\n"
        "o = torch.optim.SGD(m.parameters())\nfor x in DataLoader([1]):\n    step(m, x, torch.nn.MSELoss(), o)\n"
    )

    (finding,) = document(".", "--no-cache")["findings"]
    assert (finding["rule"], finding["place"]["file"]) == ("missing-zero-grad", f"{name}.py")  # type: ignore[index]
    assert document(f"{name}.py", "--no-cache")["findings"] == []


def test_a_finding_in_an_imported_file_that_is_allowed_there_is_silenced(folder: Path) -> None:
    allowed = "    o.step()  # stethoscope: allow missing-zero-grad -- summed\n"
    (folder / "a_steps.py").write_text("def step(m, o, x):\n    m(x).sum().backward()\n" + allowed)
    (folder / "train.py").write_text(
        "import torch\nfrom torch.utils.data import DataLoader\nfrom a_steps import step\nm = torch.nn.Linear(1, 1)\n"
        "o = torch.optim.SGD(m.parameters())\nfor x in DataLoader([1]):\n    step(m, o, x)\n"
    )

    said = document(".", "--no-cache")
    assert (said["findings"], said["summary"]["silenced"]) == ([], 1)  # type: ignore[index]


def test_it_is_a_name_of_the_package_and_needs_no_torch(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    assert [finding.rule for finding in stethoscope.lint("train.py").findings] == ["missing-zero-grad"]
    code = (
        "import sys; sys.modules['torch'] = None; import stethoscope; print(len(stethoscope.lint('train.py').findings))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_diff_shows_what_a_fix_would_do_and_changes_nothing(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    code, output = lint("train.py", "--diff", "--unsafe")

    assert code == 1
    assert "+    optimizer.zero_grad()" in output
    assert (folder / "train.py").read_text() == BAD
    assert lint("train.py", "--diff") == (0, "")


ENDS = {
    "of Unix": lambda text: text.encode(),
    "of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "of both": lambda text: text.replace("\n", "\r\n", 3).encode(),
    "none at the last line": lambda text: text.rstrip("\n").encode(),
    "behind a mark of order": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "beside a form feed": lambda text: text.replace("import torch", "\f\nimport torch", 1).encode(),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_diff_can_be_applied_whatever_ends_the_lines(folder: Path, how: str) -> None:
    path = folder / "train.py"
    path.write_bytes(ENDS[how](BAD))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)

    difference = CliRunner().invoke(command, ["train.py", "--diff", "--unsafe"]).stdout_bytes
    apply = ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn"]
    subprocess.run(apply, cwd=folder, input=difference, check=True)

    applied = path.read_bytes()
    path.write_bytes(ENDS[how](BAD))
    lint("train.py", "--fix", "--unsafe")
    assert b"zero_grad" in applied
    assert applied == path.read_bytes()


def test_a_fix_leaves_nothing_to_be_found(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    assert lint("train.py", "--fix")[0] == 1
    code, output = lint("train.py", "--fix", "--unsafe")

    assert code == 0
    assert "train.py: 1 finding repaired" in output
    assert (folder / "train.py").read_text() == GOOD


@pytest.mark.parametrize("arguments", [["--unsafe"], ["-", "--fix"], ["--stdin-filename", "a.py", "--diff"]])
def test_options_that_do_not_go_together_are_wrong_use(folder: Path, arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="--fix"):
        CliRunner().invoke(command, arguments, input="x = 1\n", standalone_mode=False, catch_exceptions=False)


def test_a_rule_on_trial_speaks_when_all_is_asked_for(folder: Path) -> None:
    (folder / "table.py").write_text(
        "import pandas as pd\nfrom sklearn.model_selection import train_test_split\n"
        "from sklearn.preprocessing import StandardScaler\n\n"
        'table = pd.read_csv("a.csv")\nx = StandardScaler().fit_transform(table.drop(columns="y"))\n'
        "train, test = train_test_split(x, random_state=0)\n"
    )

    assert stethoscope.lint("table.py").findings == ()
    assert [one.rule for one in stethoscope.lint("table.py", possible=True).findings] == ["preprocessing-leakage"]


def test_a_module_without_which_a_file_cannot_be_imported_is_seen_when_it_comes(folder: Path) -> None:
    Path("a.py").write_text(f"from .parts import Block\n{BAD}")
    assert lint("a.py")[0] == 0

    Path("parts.py").write_text("Block = None\n")

    assert lint("a.py")[0] == 1
