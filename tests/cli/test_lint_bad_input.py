"""`stethoscope lint` among files that nobody should have to read: a line for each, the rest still done."""

from __future__ import annotations

import codecs
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from linting_files import BAD, lint, notebook

from stethoscope.cli.lint import command
from stethoscope.observe.code.reading import MOST_BYTES

RAW = BAD.encode()
HERE = "import torch.optim\nloss.backward()\n"
NOT_ANALYSED = {
    "syntax.py": (HERE + "class A(nn.Module:\n", r"does not parse at line 3"),
    "py2.py": (HERE + "print 'x'\n", r"is Python 2"),
    "py2_raise.py": (HERE + "raise ValueError, 'x'\n", r"is Python 2"),
    "tabs.py": (HERE + "if x:\n\ty\n        z\n", r"inconsistent use of tabs"),
    "null.py": (RAW + b"\0", r"holds null bytes"),
    "large.py": (RAW + b"x = 1\n" * (MOST_BYTES // 3), r"is larger than 5 MB"),
    "latin.py": (RAW + b"x = '\xe9'\n", r"is not valid utf-8"),
    "klingon.py": (b"# coding: klingon\n" + RAW, r"declares an encoding that is not known"),
    "rot13.py": (b"# coding: rot13\n" + RAW, r"is not valid rot13"),
    "half_a_character.py": (b"# coding: utf-8\n" + RAW + b"x = '\xed\xa0\x80'\n", r"is not valid utf-8"),
    "digits.py": (BAD + "x = " + "9" * 5000, r"value has 5000 digits$"),
    "brackets.py": (BAD + "x = " + "(" * 3000 + ")" * 3000, r"nested"),
    "minus.py": (BAD + "x = " + "-" * 5000 + "1", r"is nested too deeply"),
    "sum.py": (BAD + "x = " + " + ".join("1" * 20000), r"is nested too deeply"),
    "calls.py": (BAD + "x = a" + ".b()" * 5000, r"is nested too deeply"),
    "items.py": (BAD + "x = y" + "[0]" * 5000, r"is nested too deeply"),
    "branches.py": (BAD + "if x:\n    y\n" + "elif x:\n    y\n" * 3000, r"is nested too deeply"),
    "lambdas.py": (BAD + "x = " + "lambda: " * 3000 + "1", r"is nested too deeply"),
    "choices.py": (BAD + "x = " + " if a else ".join("b" * 3000), r"is nested too deeply"),
    "broken.ipynb": ('{"cells": [{"source": ["x.zero_grad()', r"is no notebook: its JSON is broken"),
    "wide.ipynb": (notebook(BAD).encode("utf-16"), r"is no notebook: its JSON is broken"),
    "list.ipynb": ('["zero_grad"]', r"its JSON is no object"),
    "nan.ipynb": ('{"zero_grad": 1, "cells": NaN}', r"has no cells"),
    "deep.ipynb": ('{"zero_grad": 1, "cells": ' + "[" * 100_000, r"is no notebook"),
    "julia.ipynb": (
        json.dumps({"cells": [{"source": "optim.SGD(x)"}], "metadata": {"kernelspec": {"language": "julia"}}}),
        r"its kernel speaks julia",
    ),
}
READ = {
    "bom.py": codecs.BOM_UTF8 + RAW,
    "wide.py": BAD.encode("utf-16"),
    "windows.py": RAW.replace(b"\n", b"\r\n"),
    "old_mac.py": RAW.replace(b"\n", b"\r"),
    "mixed.py": RAW.replace(b"\n", b"\r\n", 3),
    "latin1.py": b"# coding: latin-1\nx = '\xe9'\n" + RAW,
    "form_feed.py": RAW.replace(b"\n\n", b"\n\x0c\n", 1),
    "no_end.py": RAW.rstrip(),
    "one_line.py": RAW + b"x = [" + b"1, " * 100_000 + b"]\n",
    "generated.py": RAW + b"".join(b"def f%d(x):\n    return x + 1\n" % number for number in range(5000)),
    "rebound.py": RAW + b"model = model\n" * 5000,
    "indented.py": RAW + b"".join(b" " * n + b"if x:\n" for n in range(99)) + b" " * 99 + b"pass\n",
    "lists.py": RAW + b"x = " + b"[" * 150 + b"]" * 150 + b"\n",
    "dicts.py": RAW + b"x = " + b"{1:" * 90 + b"1" + b"}" * 90 + b"\n",
    "annotated.py": RAW + b"x: " + b"a[" * 90 + b"1" + b"]" * 90 + b"\n",
    "blank in name é.py": RAW,
    "nb.ipynb": notebook(BAD).encode(),
    "nb_bom.ipynb": codecs.BOM_UTF8 + notebook(BAD).encode(),
    "old.ipynb": json.dumps({"worksheets": [{"cells": [{"cell_type": "code", "input": BAD}]}]}).encode(),
    "magics.ipynb": notebook(
        "%load_ext autoreload\n!pip install x\nfiles = !ls\nmodel?\n" + BAD.replace("for x", "%%time\nfor x")
    ).encode(),
    "odd_cells.ipynb": json.dumps(
        {"cells": [1, None, {"cell_type": ["code"]}, {"cell_type": "code", "source": {"a": 1}},
                   {"cell_type": "code", "source": [1, None, BAD]}]}
    ).encode(),
}  # fmt: skip
SILENT = {"empty.py": b"", "blanks.py": b" \n \t", "text.txt": RAW, "cells.ipynb": b'{"cells": []}'}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def document(*arguments: str, text: bytes | None = None) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(lint(*arguments, "--format", "json", text=text)[1])
    return loaded


def test_all_of_them_in_one_folder(folder: Path) -> None:
    for name, (content, _) in NOT_ANALYSED.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    for name, data in (READ | SILENT).items():
        (folder / name).write_bytes(data)
    os.symlink("gone.py", "dead.py")
    os.symlink("itself.py", "itself.py")
    (folder / "sub").mkdir()
    os.symlink("..", "sub/up")
    os.mkfifo("pipe.py")

    said = document(".", "--no-cache")

    reasons = {one["file"]: one["why"] for one in said["summary"]["not_analysed"]}
    links = {"dead.py": "no such file", "itself.py": "symbolic links", "pipe.py": "is no regular file"}
    wanted = {name: why for name, (_, why) in NOT_ANALYSED.items()} | links
    assert reasons.keys() == wanted.keys()
    assert not {name: reasons[name] for name, why in wanted.items() if not re.search(why, reasons[name])}
    assert sorted(one["place"]["file"] for one in said["findings"]) == sorted(READ)
    assert said["summary"]["broken"] == []


@pytest.mark.parametrize("name", ["syntax.py", "null.py", "deep.ipynb", "large.py"])
def test_the_same_on_standard_input(name: str) -> None:
    content, why = NOT_ANALYSED[name]
    data = content.encode() if isinstance(content, str) else content

    (told,) = document("-", "--stdin-filename", name, text=data)["summary"]["not_analysed"]

    assert re.search(why, told["why"])
    assert lint("-", "--stdin-filename", name, text=data)[0] == 0


@pytest.mark.parametrize("name", [*NOT_ANALYSED, "pipe.py"])
def test_a_file_that_was_named_itself_and_could_not_be_read_is_not_clean(folder: Path, name: str) -> None:
    """In a folder, or by a pattern, it is one of many: it is told, and the rest decides."""
    if name == "pipe.py":
        os.mkfifo(name)
    else:
        content = NOT_ANALYSED[name][0]
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "clean.py").write_text("x = 1\n")

    assert lint(name)[0] == 2
    assert lint("clean.py", name)[0] == 2  # from what is remembered, too
    assert lint(name, "--write-baseline", "known.json")[0] == 2
    assert lint(".")[0] == 0
    assert lint("[!c]*.*")[0] == 0


def test_a_file_that_was_named_and_holds_no_training_code_is_clean(folder: Path) -> None:
    (folder / "other.py").write_text("def f(:\n")

    assert lint("other.py")[0] == 0


@pytest.mark.parametrize("name", ["windows.py", "bom.py", "wide.py", "nb.ipynb"])
def test_what_can_be_read_is_read_on_standard_input(name: str) -> None:
    assert len(document("-", "--stdin-filename", name, text=READ[name])["findings"]) == 1


def test_a_file_that_may_not_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret.py").write_text(BAD)
    (folder / "train.py").write_text(BAD)
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "secret.py":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything
    code, output = lint(".", "--no-cache")

    assert code == 1
    assert "not analysed: secret.py cannot be read: permission denied" in output
    assert "1 error in 1 file" in output


def test_a_folder_that_may_not_be_entered_ends_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "closed").mkdir()
    (folder / "train.py").write_text(BAD)
    look = os.stat

    def refuse(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        if "closed" in Path(path).parts[:-1]:
            raise PermissionError(13, "Permission denied")
        return look(path, *rest, **named)

    monkeypatch.setattr(os, "stat", refuse)  # root may enter every folder
    code, output = lint(".", "--no-cache")

    assert code == 1
    assert "1 error in 1 file" in output


@pytest.mark.parametrize("name", ["", "x" * 5000 + ".py", "[.py", "a\0b.py", "nothing*.py", "no/such/folder"])
def test_names_that_stand_for_nothing_are_missing(folder: Path, name: str) -> None:
    code, output = lint(name)

    assert code == 2
    assert "missing: there is no file or folder" in output


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "junit", "gitlab"])
def test_a_name_that_is_no_text_ends_no_format(folder: Path, form: str, encoding: str) -> None:
    name = os.fsdecode(b"tr\xffain.py")
    try:
        (folder / name).write_text(BAD + "# ×\n")
    except OSError:
        pytest.skip("this file system takes no such name")

    def said(*arguments: str) -> bytes:
        runner = CliRunner(charset=encoding)
        result = runner.invoke(command, [".", "--no-cache", "--format", form, *arguments], standalone_mode=False)
        assert (result.exception, result.return_value) == (None, 1)
        return result.stdout_bytes

    printed = said()
    said("--output", "out")
    for text in (printed.decode(encoding), (folder / "out").read_text("utf-8")):
        assert text
        if form in ("json", "sarif", "gitlab"):
            json.loads(text)


def test_such_a_name_ends_neither_a_diff_nor_a_baseline(folder: Path) -> None:
    name = os.fsdecode(b"tr\xffain.py")
    try:
        (folder / name).write_text(BAD)
    except OSError:
        pytest.skip("this file system takes no such name")

    assert "+    optimizer.zero_grad()" in lint(".", "--diff", "--unsafe")[1]
    assert lint(".", "--write-baseline", "known.json")[0] == 0
    assert lint(".", "--baseline", "known.json")[0] == 0
    assert lint(".", "--fix", "--unsafe")[0] == 0


def test_ten_thousand_files(folder: Path) -> None:
    for number in range(10_000):
        if number % 100 == 0:
            (folder / f"p{number // 100}").mkdir()
        text = BAD if number % 2500 == 0 else f"import os\nx = {number}\n"
        (folder / f"p{number // 100}" / f"m{number}.py").write_text(text)

    said = document(".")

    assert said["summary"]["files"] == 10_000
    assert len(said["findings"]) == 4


def test_files_of_this_project_mutilated_at_random_end_nothing(folder: Path) -> None:
    draw = random.Random(7)
    sources = sorted((Path(__file__).parents[2] / "src" / "stethoscope" / "rules").rglob("*.py"))
    for number, path in enumerate(draw.sample(sources, 40)):
        data = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 5)):
            place = draw.randrange(len(data))
            length = draw.randint(1, 40)
            match draw.randrange(4):
                case 0:
                    del data[place : place + length]
                case 1:
                    data[place:place] = data[: draw.randint(0, 400)]
                case 2:
                    data[place:place] = draw.randbytes(length)
                case _:
                    data[place : place + length] = draw.choice([b"(", b"\0", b'"""', b"\\\n", b"\xff", b"\t", b"f'{"])
        (folder / f"m{number}.py").write_bytes(bytes(data) + b"\nzero_grad\n")
        (folder / f"n{number}.ipynb").write_bytes(json.dumps(
            {"cells": [{"cell_type": "code", "source": [bytes(data).decode("utf-8", "replace")]}], "zero_grad": 1}
        ).encode()[: draw.choice([None, 5000])])  # fmt: skip

    result = CliRunner().invoke(command, [".", "--all", "--notes", "--no-cache", "--format", "json"])

    assert "Traceback" not in result.output
    assert "a fault in stethoscope" not in result.output
    said = json.loads(result.output)
    assert said["summary"]["broken"] == []
    assert said["summary"]["files"] == 80
    for one in ("--diff", "--unsafe"), ("--fix", "--unsafe"):
        assert CliRunner().invoke(command, [".", *one], standalone_mode=False).exception is None
