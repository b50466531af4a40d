"""What findings change in their files: the fault is gone, and nothing else is touched."""

from __future__ import annotations

import ast
import codecs
import io
import tokenize
from pathlib import Path

import pytest

from code_programs import code_of
from stethoscope.core.finding import Edit, Finding, Place
from stethoscope.core.rule import Rule
from stethoscope.core.settings import Settings
from stethoscope.facts.code import Code
from stethoscope.fixing import edits_of, fixes_of, write
from stethoscope.linting import lint
from stethoscope.observe.code.rewriting import rewritten
from stethoscope.rules import all_rules
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.parameters.unregistered_modules import UnregisteredModules

EXAMPLES = [
    pytest.param(rule, text, id=f"{rule.name}::{name}")
    for rule in all_rules()
    for name, text in rule.bad_code.items()
    if "# file:" not in text
]
WITH_EDITS = {
    "call-forgotten", "dropout-always-on", "unregistered-modules", "result-dropped", "wrong-softmax-dim",
    "missing-zero-grad", "forward-called-directly", "squeeze-without-dim",
    "bce-without-sigmoid", "generator-exhausted", "gradient-clipping-misplaced",
    "gradients-cleared-before-step", "graph-kept-alive", "in-place-result-lost", "kl-div-arguments",
    "loss-arguments-swapped", "nan-compared-by-equals", "nll-without-log-softmax", "scheduler-before-optimizer",
    "softmax-on-one-unit", "validation-builds-graph",
}  # fmt: skip


def comments(text: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sorted(token.string for token in tokens if token.type == tokenize.COMMENT)


def said_of(rule: type[Rule], code: Code) -> list[Finding]:
    return [one for one in rule().in_code(code) if isinstance(one, Finding)]


@pytest.mark.parametrize(("rule", "text"), EXAMPLES)
def test_a_fixed_example_parses_and_its_rule_is_silent_where_it_was_fixed(rule: type[Rule], text: str) -> None:
    code = code_of(text)
    found = said_of(rule, code)
    changes = [edits for one in found if (edits := edits_of(one, unsafe=True))]

    after, count = rewritten("\n".join(code.lines).encode(), changes)

    ast.parse(after)
    assert count == len(changes)
    left = said_of(rule, code_of(after.decode()))
    assert len(left) == len(found) - count
    assert comments(after.decode()) == comments("\n".join(code.lines))
    again = [edits for one in left if (edits := edits_of(one, unsafe=True))]
    assert rewritten(after, again) == (after, 0)


def test_the_rules_that_repair_are_known() -> None:
    repairing = {
        rule.name
        for rule in all_rules()
        for text in rule.bad_code.values()
        for one in said_of(rule, code_of(text))
        if edits_of(one, unsafe=True)
    }
    assert repairing == WITH_EDITS


def edit(line: int, column: int, end_column: int, text: str) -> Edit:
    return Edit(Place(file="a.py", line=line, column=column, end_line=line, end_column=end_column), text)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("# é\r\nx = 'é'; y\r\nz  # end".encode(), id="CRLF"),
        pytest.param(codecs.BOM_UTF8 + "# é\nx = 'é'; y\nz  # end\n".encode(), id="BOM"),
        pytest.param("# coding: latin-1\nx = 'é'; y\nz  # end\n".encode("latin-1"), id="latin-1"),
        pytest.param(b"#\rx = '_'; y\rz  # end\r", id="CR"),
    ],
)
def test_all_other_bytes_stay(data: bytes) -> None:
    after, count = rewritten(data, [[edit(2, 10, 11, "yes()")], [edit(3, 2, 2, "\nw")]])

    end = b"\r\n" if b"\r\n" in data else b"\r" if b"\r" in data else b"\n"
    assert count == 2
    assert after == data.replace(b"; y", b"; yes()").replace(b"z  #", b"z" + end + b"w  #")


def test_a_change_that_would_not_parse_or_overlaps_is_left_out_alone() -> None:
    good, broken, overlapping = [edit(1, 1, 2, "y")], [edit(2, 1, 1, "(")], [edit(1, 1, 4, "z")]

    assert rewritten(b"x = 1\nx\n", [good, broken, overlapping]) == (b"y = 1\nx\n", 1)


@pytest.mark.parametrize("data", [b"x = (\n", b"\xff\xfe", b"# coding: no-such\nx\n", b"x\0"])
def test_what_is_no_python_stays(data: bytes) -> None:
    assert rewritten(data, [[edit(1, 1, 2, "y")]]) == (data, 0)


def test_a_place_that_is_not_there_changes_nothing() -> None:
    assert rewritten(b"x\n", [[edit(9, 1, 2, "y")], [edit(1, 1, 99, "y")]]) == (b"x\n", 0)


BAD = """\
import torch
from torch import nn

model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.load("data"):
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()  # each batch
model.eval
"""


def test_safe_fixes_add_no_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text(BAD)

    assert write(fixes_of(lint("a.py", settings=Settings()))) == ["a.py: 1 finding repaired"]
    assert (tmp_path / "a.py").read_text() == BAD.replace("model.eval", "model.eval()")

    write(fixes_of(lint("a.py", settings=Settings()), unsafe=True))

    after = (tmp_path / "a.py").read_text()
    assert "    optimizer.step()  # each batch\n    optimizer.zero_grad()\nmodel.eval()\n" in after
    assert not lint("a.py", settings=Settings()).findings
    assert not fixes_of(lint("a.py", settings=Settings()), unsafe=True)


def test_where_gradients_are_to_be_cleared_is_told_as_it_is_done() -> None:
    text = MissingZeroGrad.bad_code["nothing clears"]
    (found,) = said_of(MissingZeroGrad, code_of(text))
    (fix,) = found.fixes
    (edit,) = fix.edits
    assert fix.text.endswith(f"optimizer.step()\n    {edit.text.strip()}")
    (found,) = said_of(MissingZeroGrad, code_of(MissingZeroGrad.bad_code["through a gradient scaler"]))
    (fix,) = found.fixes
    assert not fix.edits
    assert "before the backward pass" in fix.text


COMMA = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3),

    def forward(self, x):
        return CALLED
"""


def test_a_comma_that_makes_a_tuple_of_a_called_layer_is_taken_away() -> None:
    code = code_of(COMMA.replace("CALLED", "self.fc(x)"))
    changes = [edits_of(one, unsafe=True) for one in said_of(UnregisteredModules, code)]

    after, count = rewritten("\n".join(code.lines).encode(), [edits for edits in changes if edits])

    assert count == 1
    assert "self.fc = nn.Linear(3, 3)\n" in after.decode()


def test_a_tuple_whose_layers_are_called_one_by_one_keeps_its_comma() -> None:
    found = said_of(UnregisteredModules, code_of(COMMA.replace("CALLED", "[layer(x) for layer in self.fc]")))

    assert "ModuleList" in found[0].fixes[0].text
