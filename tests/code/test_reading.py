"""Bytes to text: what can be read is read, and what cannot says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.project import Project
from stethoscope.observe.code.reading import MOST_BYTES, Source, Unreadable, source_of, text_of
from stethoscope.observe.code.relevant import is_relevant, is_said_in_code, may_matter
from stethoscope.rules import all_rules


def notebook(*cells: str | list[str], **metadata: object) -> bytes:
    listed = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"nbformat": 4, "metadata": metadata, "cells": listed}).encode()


def why(data: bytes, file: str = "train.py") -> str:
    with pytest.raises(Unreadable) as caught:
        facts_of(source_of(data, file))
    return str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"x = 'a'\r\ny = 1\r\n",
        b"x = 'a'\ry = 1\r",
        b"\xef\xbb\xbfx = 'a'\ny = 1\n",
        "x = 'a'\ny = 1\n".encode("utf-16"),
    ],
)
def test_line_ends_and_byte_order_marks_do_not_matter(data: bytes) -> None:
    assert text_of(data) == "x = 'a'\ny = 1\n"


def test_a_declared_encoding_is_honoured() -> None:
    assert text_of("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1")).endswith("'é'\n")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x = 1\0\n", "holds null bytes"),
        (b"x = '\xff\xfe\xfa'\n", "utf-8"),
        (b"# coding: klingon\nx = 1\n", "encoding that is not known"),
        (b"print 'hello'\n", "is Python 2"),
        (b"def f(:\n", "does not parse at line 1"),
        (b"x = " + b"(" * 3000 + b"1" + b")" * 3000, "nested"),
        (b"#" * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    assert reason in why(data)


def test_long_sums_and_long_chains_of_branches_are_read_as_far_as_they_go() -> None:
    code = facts_of(Source("train.py", "x = " + " + ".join(["1"] * 900) + "\ny = 2\n"))

    assert code.confusing == ("line 1 is nested too deeply",)
    assert code.bindings[-1].name == "y"


def test_cells_are_one_module_in_the_order_of_the_document() -> None:
    code = facts_of(source_of(notebook("import torch\nx = 1", ["y = x\n", "print(y)"]), "nb.ipynb"))

    assert code.cells == ((1, 1), (2, 3))
    assert code.bindings[1].name == "y"


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\nx = 1",
        "!pip install torch\nx = 1",
        "files = !ls\nx = 1",
        "%%time\nx = 1",
        "%%stethoscope --every 1\nx = 1",
        "%%pyinstrument\nx = 1",
        "if True:\n    %load_ext autoreload\nx = 1",
        "model?\nx = 1",
        "!wget a \\\n  b\nx = 1",
        "y = 7 %\\\n 3\nx = 1",
    ],
)
def test_magics_and_shell_lines_are_blanked(cell: str) -> None:
    code = facts_of(source_of(notebook(cell), "nb.ipynb"))

    assert [binding.name for binding in code.bindings if binding.name == "x"] == ["x"]
    assert not code.confusing


def test_a_cell_of_another_language_is_left_out() -> None:
    code = facts_of(source_of(notebook("%%bash\nfor i in 1 2; do echo; done", "x = 1"), "nb.ipynb"))

    assert [binding.name for binding in code.bindings] == ["x"]


def test_a_cell_that_does_not_parse_costs_the_others_nothing_and_is_told() -> None:
    code = facts_of(source_of(notebook("for x in:", "y = 1"), "nb.ipynb"))

    assert [binding.name for binding in code.bindings] == ["y"]
    assert code.confusing == ("cell 1 does not parse",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "its JSON is broken"),
        (b"[]", "is no object"),
        (b"{}", "has no cells"),
        (notebook("x <- 1", kernelspec={"language": "R"}), "speaks R"),
        (b'{"cells": ' + b"[" * 100_000, "is no notebook"),
    ],
)
def test_what_is_no_python_notebook_says_why(data: bytes, reason: str) -> None:
    assert reason in why(data, "nb.ipynb")


def test_the_value_that_a_cell_displays_is_marked() -> None:
    code = facts_of(source_of(notebook("x = 1\nx.a()\n\n# end", "x.b()\nx.c()"), "nb.ipynb"))

    assert [bare.displayed for bare in code.bare] == [True, False, True]


def test_no_example_of_a_rule_is_passed_over_before_it_is_parsed() -> None:
    missed = [
        (rule.name, name)
        for rule in all_rules()
        for name, text in rule.bad_code.items()
        if not is_relevant(text.encode())
    ]
    assert not missed


PASSING_ON = {
    "a flag that is off": "def send(x, async_op=False):\n    return group.send(x, async_op = False)\n",
    "a flag that is handed on": "def send(x, async_op):\n    return group.send(x, async_op=async_op)\n",
    "a context that is entered": "import torch\n\nwith torch.no_grad(), torch.autocast('cuda'):\n    y = f(x)\n",
    "a decorator": "import torch\n\n\n@torch.no_grad()\ndef score(x):\n    return f(x)\n",
    "the definition of an operation": "def log_softmax(x, dim):\n    return aten._log_softmax(x, dim)\n",
    "a type": "import torch\n\n\ndef rate(optimizer: torch.optim.Optimizer):\n    return optimizer.defaults\n",
    "tensors that ask for gradients": "def leaf(x):\n    return x.detach().requires_grad_()\n",
    "the definition of a message": "def isend(x, dst):\n    return group.isend(x, dst)\n",
    "states of another kind": "def merge(state_dict):\n    return {**state_dict}\n",
    "a file of one's own": "import pickle\n\nwith open('words') as file:\n    words = pickle.load(file)\n",
}


@pytest.mark.parametrize("text", PASSING_ON.values(), ids=PASSING_ON)
def test_what_only_passes_such_things_on_is_not_parsed_but_known_to_those_who_import_it(text: str) -> None:
    assert not is_relevant(text.encode())
    assert may_matter(text.encode())


SPOKEN_OF = {
    "a context behind a colon": "import torch\n\nif fast: torch.no_grad()\n",
    "a context in a notebook": '{"source": ["model(x)\\n", "torch.no_grad()\\n"]}',
    "a context in a cell that is one text": '{"source": "model(x)\\ntorch.no_grad()\\n"}',
    "a softmax that begins a line of such a cell": '{"source": "y = 1\\nsoftmax(x)\\n"}',
    "an optimizer that begins a line of such a cell": '{"source": "y = 1\\noptim.SGD(x)\\n"}',
    "two modules in one import": "import torch, torchvision\n",
    "a class of an optimizer": "kind = torch.optim.SGD\n",
    "a flag by a name": "wait = True\ndist.all_reduce(x, async_op=wait)\n",
}


@pytest.mark.parametrize("text", SPOKEN_OF.values(), ids=SPOKEN_OF)
def test_a_word_counts_wherever_a_rule_may_speak_of_it(text: str) -> None:
    assert is_relevant(text.encode())


def test_a_file_that_imports_learns_from_one_that_only_passes_things_on(tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text("def state(state_dict):\n    return state_dict\n")
    (tmp_path / "train.py").write_text("import kept\n\nloss.backward()\n")

    code = Project().read(tmp_path / "train.py", "train.py")

    assert [function.name for function in code.linked["kept"].functions] == ["<module>", "state"]


def test_what_says_nothing_anywhere_says_nothing_in_its_code() -> None:
    assert not is_said_in_code(b"import torch\n\nprint(torch.ones(3))\n")


WRITTEN_ABOUT = {
    "a comment": "x = 1  # then loss.backward()\n",
    "a comment at the end of a line of old": "x = 1  # loss.backward()\ry = 2\r",
    "what a function says of itself": 'def f():\n    """Call `loss.backward()` before `optimizer.step()`."""\n',
    "other long quotes": "def f():\n    '''Call `loss.backward()`.'''\n",
    "quotes in a comment before it": "# don't \"\"\" do it\ndef f():\n    '''Call `loss.backward()`.'''\n",
    "quotes in it": 'def f():\n    """Say "loss.backward()" \\""" again."""\n',
    "an example in a raw text": 'def f():\n    r"""\n    >>> loss.backward()\n    \\d"""\n',
}


@pytest.mark.parametrize("text", WRITTEN_ABOUT.values(), ids=WRITTEN_ABOUT)
def test_what_is_only_written_about_training_is_no_reason_to_parse_a_file(text: str) -> None:
    assert is_relevant(text.encode())
    assert not is_said_in_code(text.encode())


SAID = {
    "behind long quotes": 'def f():\n    """Back."""\n    loss.backward()\n',
    "between two of them": '"""A."""\nloss.backward()\n"""B."""\n',
    "between quotes in comments": '# """\nloss.backward()\n# """\n',
    "between quotes in other quotes": 'a = \'"""\'\nloss.backward()\nb = \'"""\'\n',
    "behind a sign in a text": 'color = "#f00"; loss.backward()\n',
    "behind an apostrophe in a comment": "x = 1  # don't\nloss.backward()\n",
    "in a value of a long text": 'f"""{loss.backward()}"""\n',
    "in a value of a raw one": "Rf'''{loss.backward()}'''\n",
    "behind a line of old": "x = 1  # one\rloss.backward()\r",
    "behind a quote that is no end": 'a = """\\"""; "\n"""\nloss.backward()\n"""b"""\n',
    "in wide letters": "loss.backward()\n",
}


@pytest.mark.parametrize("how", SAID)
def test_a_word_of_the_code_is_seen_between_whatever_quotes(how: str) -> None:
    text = SAID[how]

    assert is_said_in_code(text.encode("utf-16") if how == "in wide letters" else text.encode())
