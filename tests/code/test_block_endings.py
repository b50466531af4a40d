"""What stands behind a `raise`, an exit or a loop that always ends so is possible at most; its twin is a fault."""

from __future__ import annotations

import json
import textwrap

import pytest

from code_programs import IMPORTS, SHOWN, TRAINS, code_of, how_sure, how_sure_behind
from stethoscope.core.review import Level
from stethoscope.diagnosing.review import review
from stethoscope.facts.dead_ends import dead_ends
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.reading import source_of
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.parameters.super_init_missing import SuperInitMissing

ABOVE = IMPORTS + "import contextlib\nimport os\nimport sys\n"


@pytest.mark.parametrize(
    "line",
    [
        "raise ValueError(model)",
        "raise SystemExit",
        "sys.exit()",
        "os._exit(0)",
        "exit(1)",
        "quit()",
        "assert False, 'later'",
        "return",
        "with torch.no_grad(): raise ValueError(model)",
        "if epochs: raise ValueError(model)\nelse: return",
        "try: print(model)\nfinally: raise ValueError(model)",
        "try: raise ValueError(model)\nexcept KeyError: raise",
        "while True: print(model)",
        "for one in loader: print(one)\nelse: raise ValueError(model)",
        "if True: raise ValueError(model)",
    ],
)
def test_what_always_leaves_a_function_ends_it(line: str) -> None:
    assert 0 <= how_sure_behind(line, ABOVE) < SHOWN


@pytest.mark.parametrize(
    "line",
    [
        "if epochs > 3: raise ValueError(model)",
        "if epochs > 3: sys.exit()",
        "if epochs > 3: raise ValueError(model)\nelif epochs: return",
        "try: raise ValueError(model)\nexcept ValueError: pass",
        "with contextlib.suppress(ValueError): raise ValueError(model)",
        "for name in model.unknown: raise KeyError(name)",
        "while epochs > 3: raise ValueError(model)",
        "while True:\n    if epochs: break",
        "with contextlib.suppress(KeyboardInterrupt):\n    while True: print(model)",
        "for one in loader:\n    if one: break\nelse: raise ValueError(model)",
        "stop = lambda: sys.exit()",
        "def stop(): raise ValueError(model)",
        "if False: raise ValueError(model)",
        "match epochs:\n    case 3: raise ValueError(model)",
        "assert True",
    ],
)
def test_what_may_go_on_ends_nothing(line: str) -> None:
    assert how_sure_behind(line, ABOVE) >= SHOWN


def test_an_exit_that_the_file_defines_itself_is_none() -> None:
    assert how_sure_behind("exit()", f"{ABOVE}def exit(): pass\n") >= SHOWN
    assert how_sure_behind("sys.exit()", f"{ABOVE}sys = print\n") >= SHOWN


@pytest.mark.parametrize(
    ("last", "is_reached"),
    [
        ("raise ValueError(one)", True),  # mostly there is no such one
        ("raise ValueError(one)\n    print(one)", False),
        ("with torch.no_grad():\n        raise ValueError(one)\n        print(one)", False),
        ("for two in one:\n        raise ValueError(two)\n        print(two)", False),
        ("print(width)\n    print(one)", False),
        ("if one: return\n    raise ValueError(one)\n    print(one)", False),
        ("if one: break\n    raise ValueError(one)\n    print(one)", True),
        ("if one: continue\n    raise ValueError(one)\n    print(one)", True),
        ("if one:\n        raise ValueError(one)\n        print(one)", True),
        ("try:\n        raise ValueError(one)\n        print(one)\n    except ValueError: pass", True),
    ],
)
def test_a_first_round_that_ends_in_its_middle_ends_what_stands_behind_the_loop(last: str, *, is_reached: bool) -> None:
    assert (how_sure_behind(f"for one in loader:\n    {last}", ABOVE) >= SHOWN) == is_reached


@pytest.mark.parametrize(
    ("above", "line"),
    [
        ("def stop(model): raise ValueError(model)\n", "if epochs: stop(model)"),
        ("def stop(model):\n    if model: raise ValueError(model)\n", "stop(model)"),
        ("def stop(model):\n    for one in model: raise ValueError(one); print(one)\n", "stop(model)"),
        ("def stop(model):\n    yield model\n    raise ValueError(model)\n", "stop(model)"),
        ("def stop(model): raise ValueError(model)\nif F:\n    def stop(model): pass\n", "stop(model)"),
        ("async def stop(model): raise ValueError(model)\n", "stop(model)"),
    ],
)
def test_a_function_that_always_ends_with_an_error_ends_the_one_that_calls_it(above: str, line: str) -> None:
    ends = f"{ABOVE}def stop(model):\n    print(model)\n    raise ValueError(model)\n"
    assert 0 <= how_sure_behind("stop(model)", ends) < SHOWN <= how_sure_behind(line, ABOVE + above)


def test_the_lines_before_an_error_are_reached() -> None:
    program = textwrap.dedent(TRAINS).replace("FIRST", "pass").replace("print(epochs)", "raise ValueError(model)")
    assert how_sure(MissingZeroGrad, program) >= SHOWN
    ends = dead_ends(code_of("import sys\n\nprint(1)\nsys.exit()\nprint(2)\nprint(3)\n"))
    assert [(at.line, at.end_line) for at in (*ends.behind, *ends.left)] == [(5, 6)]
    look = "def look(path):\n    with open(path) as one:\n        print(one)\n        print(width)\n    print(2)\n"
    ends = dead_ends(code_of("import sys\n" + look))
    assert [(at.line, at.end_line) for at in (*ends.behind, *ends.left)] == [(5, 5), (6, 6)]


UNFIT = """
    class Net(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(3, 3)
            LAST
"""


def test_a_class_that_is_not_to_be_made_needs_no_call_of_its_base() -> None:
    assert how_sure(SuperInitMissing, UNFIT.replace("LAST", "raise NotImplementedError")) < SHOWN
    assert how_sure(SuperInitMissing, UNFIT.replace("LAST", "print(width)")) >= SHOWN


def test_what_a_class_does_without_an_object_is_reached_though_none_can_be_made() -> None:
    methods = textwrap.indent(textwrap.dedent(TRAINS).replace("FIRST", "pass"), "    ")
    net = f"class Auto:\n    def __init__(self):\n        raise OSError\n{methods}"
    assert 0 <= how_sure(MissingZeroGrad, ABOVE + net) < SHOWN
    assert how_sure(MissingZeroGrad, ABOVE + net.replace("    def train", "    @staticmethod\n    def train")) >= SHOWN
    base = "import sys\n\nclass Auto:\n    def __init__(self):\n        raise OSError\n"
    make = "    @classmethod\n    def make(cls):\n        net = cls()\n        return net\n"
    heir = "class Net(Auto):\n    def __init__(self): pass\n"
    assert dead_ends(code_of(base + make + heir)).behind == ()  # it makes the heir
    assert len(dead_ends(code_of(base + make.replace("cls()", "Auto()") + heir)).behind) == 1


def test_what_runs_before_the_end_of_a_program_is_reached() -> None:
    net = "import sys\n\nclass Run:\n    def __init__(self):\n        self.train()\n        END\n"
    train = "    def train(self):\n        print(3)\n\nRun()\nprint(4)\n"
    assert dead_ends(code_of(net.replace("END", "sys.exit()") + train)).left == ()
    assert len(dead_ends(code_of(net.replace("END", "raise OSError") + train)).left) == 1
    ends = dead_ends(code_of("import sys\n\ndef main():\n    sys.exit()\n\nmain()\nprint(4)\n"))
    assert [(at.line, at.end_line) for at in (*ends.behind, *ends.left)] == [(7, 7)]


def test_an_exit_of_a_notebook_ends_no_function() -> None:
    cells = [IMPORTS, textwrap.dedent(TRAINS).replace("FIRST", "LINE")]
    sure = []
    for line in ("exit()", "raise ValueError(model)"):
        listed = [{"cell_type": "code", "source": cell.replace("LINE", line)} for cell in cells]
        code = facts_of(source_of(json.dumps({"cells": listed, "metadata": {}}).encode(), "train.ipynb"))
        (one,) = review(code, rules=[MissingZeroGrad]).findings
        sure.append(Level().shows(one))
    assert sure == [True, False]
