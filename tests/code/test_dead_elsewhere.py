"""What always ends with an error in another file of the project keeps a training from being run, too."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.diagnosing.review import review
from stethoscope.observe.code.project import Project
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

BOXES = """
# file: boxes.py
import torch
from torch.utils.data import DataLoader, Dataset

def boxes_of(labels, size=1):
    return labels * size

class Boxes(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        try:
            row = torch.load(self.rows[at], weights_only=True)
            boxes = boxes_of(row, GIVEN=2)
            return row, boxes
        except Exception as error:
            print(error)
            raise

def loader_of(rows):
    return DataLoader(Boxes(rows), batch_size=8)

def prepare(rows):
    print(boxes_of(rows, GIVEN=3))
    return rows
"""
TRAIN = """
# file: train.py
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from tqdm import tqdm
import boxes
from boxes import Boxes, loader_of, prepare

def train(model, loader, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    FIRST
    for epoch in range(10):
        for x, y in LOADER:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()

def main(rows):
    model = torch.nn.Linear(3, 3)
    MADE
    train(model, loader, rows)
    print(model)
"""
MADE = "loader = DataLoader(Boxes(rows), batch_size=8)"


def _sure(given: str, *, made: str = MADE, loop: str = "loader", first: str = "pass", more: str = "") -> int:
    train = TRAIN.replace("MADE", made).replace("LOADER", loop).replace("FIRST", first)
    return how_sure(MissingZeroGrad, BOXES.replace("GIVEN", given) + train + more)


@pytest.mark.parametrize("loop", ["loader", "tqdm(loader)", "DataLoader(Boxes(rows), batch_size=8)", "loader_of(rows)"])
def test_data_of_another_file_that_cannot_be_read_gives_no_round(loop: str) -> None:
    assert 0 <= _sure("device", loop=loop) < SHOWN
    assert _sure("size", loop=loop) >= SHOWN


@pytest.mark.parametrize(
    "made",
    [
        "loader = loader_of(rows)",
        "loader = boxes.loader_of(rows)",
        "loader = DataLoader(Boxes(rows), batch_size=8)\n    train(model, DataLoader(Boxes(rows[1:])), rows)",
    ],
)
def test_each_loader_that_a_loop_may_be_given_is_followed(made: str) -> None:
    assert 0 <= _sure("device", made=made) < SHOWN
    assert _sure("size", made=made) >= SHOWN


def test_a_loop_that_may_be_given_other_data_has_rounds() -> None:
    also = f"{MADE}\n    train(model, DataLoader(torch.zeros(3, 3)), rows)"
    assert _sure("device", made=also) >= SHOWN
    assert _sure("device", made=f"{MADE}\n    train(model, rows, rows)") >= SHOWN
    others = "\n# file: more.py\nimport train\ntrain.train(1, [], [])\n"
    text = BOXES.replace("GIVEN", "device") + others + TRAIN.replace("MADE", MADE).replace("LOADER", "loader")
    assert how_sure(MissingZeroGrad, text.replace("FIRST", "pass")) >= SHOWN
    assert 0 <= how_sure(MissingZeroGrad, text.replace("FIRST", "pass").replace("import train\n", "")) < SHOWN


def test_data_of_the_same_file_are_read_by_loops_of_functions_too() -> None:
    joined = "\n".join((BOXES, TRAIN)).replace("# file: boxes.py\n", "").replace("# file: train.py\n", "")
    joined = joined.replace("import boxes\nfrom boxes import Boxes, loader_of, prepare\n", "")
    joined = joined.replace("MADE", MADE).replace("LOADER", "loader").replace("FIRST", "pass")
    assert 0 <= how_sure(MissingZeroGrad, joined.replace("GIVEN", "device")) < SHOWN
    assert how_sure(MissingZeroGrad, joined.replace("GIVEN", "size")) >= SHOWN


def test_a_loader_may_read_data_in_another_way() -> None:
    for name in ("__getitems__", "__iter__"):
        boxes = BOXES.replace("GIVEN", "device").replace(
            "    def __len__", f"    def {name}(self, at): ...\n\n    def __len__"
        )
        train = TRAIN.replace("MADE", MADE).replace("LOADER", "loader").replace("FIRST", "pass")
        assert how_sure(MissingZeroGrad, boxes + train) >= SHOWN


@pytest.mark.parametrize("first", ["rows = prepare(rows)", "boxes.prepare(rows)"])
def test_a_function_of_another_file_that_always_fails_is_the_end(first: str) -> None:
    assert 0 <= _sure("device", made="loader = rows", first=first) < SHOWN
    assert _sure("size", made="loader = rows", first=first) >= SHOWN


@pytest.mark.parametrize(
    ("first", "more"),
    [
        ("rows = prepare(rows)", "\ndef prepare(rows): return rows\n"),
        ("rows = prepare(rows)", "\ntry:\n    from fast import prepare\nexcept ImportError:\n    pass\n"),
        ("rows = boxes.prepare(rows)", "\nboxes.prepare = print\n"),
        ("rows = prepare", ""),
        ("rows = prepare(rows) if rows else rows", ""),
    ],
)
def test_a_name_that_may_mean_another_function_does_not_end(first: str, more: str) -> None:
    assert _sure("device", made="loader = rows", first=first, more=more) >= SHOWN


def test_what_a_function_of_another_file_raises_itself_is_left_to_who_calls_it() -> None:
    program = BOXES.replace("print(boxes_of(rows, GIVEN=3))", "raise NotImplementedError") + TRAIN
    program = program.replace("GIVEN", "size").replace("MADE", "loader = rows").replace("LOADER", "loader")
    assert how_sure(MissingZeroGrad, program.replace("FIRST", "rows = prepare(rows)")) >= SHOWN


def _sure_on_disk(folder: Path, files: dict[str, str]) -> int:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    code = Project().read(folder / "train.py", "train.py")
    return max((one.sureness.strength for one in review(code, rules=[MissingZeroGrad]).findings), default=-1)


THIRD = {
    "data/__init__.py": "",
    "utils/__init__.py": "",
    "utils/labels.py": """
        import torch

        def boxes_of(labels, size=1):
            with torch.no_grad():
                return labels * size
    """,
    "data/boxes.py": """
        import torch
        from torch.utils.data import Dataset
        from utils.labels import boxes_of

        class Boxes(Dataset):
            def __init__(self, rows):
                self.rows = rows

            def __getitem__(self, at):
                return torch.ones(3), boxes_of(self.rows[at], GIVEN=2)
    """,
    "train.py": """
        import torch
        import torch.nn.functional as F
        from torch.utils.data import DataLoader
        from data.boxes import Boxes

        def train(model, loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()

        def main(rows):
            train(torch.nn.Linear(3, 3), DataLoader(Boxes(rows), batch_size=8))
    """,
}


@pytest.mark.parametrize(("given", "fails"), [("device", True), ("size", False)])
def test_what_the_other_file_imports_itself_is_followed_once(tmp_path: Path, given: str, fails: bool) -> None:
    files = {name: text.replace("GIVEN", given) for name, text in THIRD.items()}
    sure = _sure_on_disk(tmp_path, files)
    assert sure >= 0
    assert (sure < SHOWN) is fails


def test_files_that_import_each_other_are_asked_once(tmp_path: Path) -> None:
    files = {name: text.replace("GIVEN", "device") for name, text in THIRD.items()}
    files["utils/labels.py"] = "import data.boxes\nfrom train import main\n" + textwrap.dedent(files["utils/labels.py"])
    files["train.py"] = files["train.py"].replace("def main", "def give")  # nobody imports the training itself
    files["data/boxes.py"] = files["data/boxes.py"].replace(
        "import torch\n", "import torch\n        import utils.labels\n", 1
    )
    _sure_on_disk(tmp_path, files)


def test_what_was_looked_at_for_another_file_is_remembered_of_this_one(tmp_path: Path) -> None:
    files = {name: text.replace("GIVEN", "device") for name, text in THIRD.items()}
    files["more.py"] = files["train.py"].replace("def train", "def other").replace("    train(", "    other(")
    _sure_on_disk(tmp_path, files)
    project = Project()
    for name in ("train.py", "more.py"):  # the second is told what was found for the first
        code = project.read(tmp_path / name, name)
        review(code, rules=[MissingZeroGrad])
        used = {Path(one).relative_to(tmp_path).as_posix() for one in project.used_files(code, tmp_path / name)}
        assert {"data/boxes.py", "utils/labels.py"} <= used
