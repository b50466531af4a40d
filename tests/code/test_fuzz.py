"""Whatever a file holds: facts, or a reason, and never a traceback."""

from __future__ import annotations

import ast
import inspect
import io
import random
import tokenize

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from code_programs import IMPORTS
from stethoscope.core.finding import Edit
from stethoscope.diagnosing.review import review
from stethoscope.fixing import edits_of
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.reading import Unreadable, source_of
from stethoscope.observe.code.rewriting import rewritten
from stethoscope.rules import all_rules

PROGRAMS = [
    IMPORTS + inspect.cleandoc(text) + "\n"
    for rule in all_rules()
    for text in (*rule.bad_code.values(), *rule.good_code.values())
    if "# file:" not in text
]
PIECES = [
    "(", ")", "[", "]", ":", "\n", "    ", ",", "=", "*", "**", "lambda x: ", "yield ", "await ", "self.", "model",
    "for x in y:\n", "if a:\n", "class C(nn.Module):\n", "x = x\n", "del x\n", "global x\n", "return ", "\t", "é",
    "\ufeff", "...", "x := ", " if a else b", "async ", "try:\n", "match x:\n", "\\\n", "# bad", "\'\'\'", "\f",
]  # fmt: skip


def repaired(data: bytes, edits: list[tuple[Edit, ...]]) -> None:
    """Whatever is repaired: it parses, and its comments are those that it had."""
    after, count = rewritten(data, edits)
    assert (after != data) == (count > 0)
    if count:
        ast.parse(after)
        assert comments(after) == comments(data)


def comments(data: bytes) -> list[str]:
    tokens = tokenize.tokenize(io.BytesIO(data).readline)
    return sorted(token.string.rstrip() for token in tokens if token.type == tokenize.COMMENT)


def judged(data: bytes, file: str = "train.py") -> None:
    try:
        code = facts_of(source_of(data, file))
    except Unreadable:
        return
    done = review(code)
    assert not done.broken, done.broken
    edits = [found for finding in done.findings if (found := edits_of(finding, unsafe=True))]
    if edits and file.endswith(".py"):
        repaired(data, edits)
    for finding in done.findings:
        assert finding.place.line is not None
        assert finding.place.line >= 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.sampled_from(["a.py", "b.ipynb"]))
def test_any_bytes(data: bytes, file: str) -> None:
    judged(data, file)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_any_pieces_of_python(pieces: list[str]) -> None:
    judged(("import torch\nfrom torch import nn\n" + "".join(pieces)).encode())


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PROGRAMS), st.integers(0, 10**6))
def test_programs_with_lines_lost_doubled_moved_and_cut(text: str, seed: int) -> None:
    draw = random.Random(seed)
    lines = text.split("\n")
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(lines))
        match draw.randrange(5):
            case 0:
                del lines[place]
            case 1:
                lines.insert(draw.randrange(len(lines) + 1), lines[place])
            case 2:
                lines[place] = lines[place][4:]
            case 3:
                lines[place] = "    " + lines[place]
            case _:
                cut = draw.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:cut] + draw.choice(PIECES) + lines[place][cut:]
        lines = lines or [""]
    judged("\n".join(lines).encode())
