"""What is said of a condition that cannot be read, or that no run can answer: a sentence, with what to write."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

LIKE = "write it like lr > 0.01 and best.val_loss < 0.3"
MOST_NEAR = 3
_HINTS = (
    (r"&&|\|\||(?<![\w'\"])!(?!=)|\b(AND|OR|NOT)\b|[&|]", "write and, or, not"),
    (r"=>|=<", "write >= or <="),
    (r"<>", "write !="),
    (r"(?<![=!<>])=(?!=)", "two values are compared by =="),
    (r"\d%", "write a share as a number, such as 0.9"),
    (r"\d,\d", "write numbers with a point, such as 0.01"),
    (r"\d[kKmM]\b", "write numbers out, such as 10000 or 1e4"),
    (r"\d{4}-\d\d?-\d\d?", "a date stands in quotes, such as started > '2026-11-21'"),
    (r"\.(startswith|endswith|contains)\(|\b(like|contains|matches)\b", "write 'words' in name"),
    (r"\bbetween\b", "write 0.01 < lr < 0.1"),
    (r"\bNone\b|\bnull\b", "a run without it fits no comparison: leave that part out"),
)
"""What people write who come from other languages, and what fits."""


def unread(text: str, part: str = "") -> str:
    """Of a condition that is none; `part` is what cannot be used of one that is Python."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)
    if bare.count("'") % 2 or bare.count('"') % 2:
        return f"cannot read the condition {text!r}: a quote is not closed"
    hint = next((said for found, said in _HINTS if re.search(found, bare)), "")
    if not part:
        return f"cannot read the condition {text!r}: {hint or LIKE}"
    if not hint and (words := re.search(r"(?<![\w.])[A-Za-z_]\w*(-[A-Za-z_]\w*)+", bare)):
        hint = f"names have no hyphens: write {words[0].replace('-', '_')}, or a text in quotes, id == '{words[0]}'"
    return f"cannot use {part!r} in a condition: {hint or 'there are comparisons, and, or, not, in'}"


def no_such_name(name: str, known: Set[str], texts: Mapping[str, Sequence[str]], beside: str) -> str:
    """Of a name that no run has.

    Args:
        name: as it was written.
        known: what runs have.
        texts: the texts that each of these is somewhere.
        beside: the name that it is compared with; empty for none.
    """
    why = f"no run has {name!r}"
    if beside and beside in texts:
        return f"{why}; a text stands in quotes: {beside} == '{name}'"
    if name in texts.get("tag", ()):
        return f"{why}; that is a tag: tag == '{name}'"
    if name.lower() in ("true", "false"):
        return f"{why}; write {name.capitalize()}"
    alike = [one for one in sorted(known) if one.lower() == name.lower() or one.rpartition(".")[2] == name]
    near = alike or difflib.get_close_matches(name, sorted(known), n=MOST_NEAR, cutoff=0.5)
    return f"{why}; there is {', '.join(near[:MOST_NEAR])}" if near else why


def of_other_kinds(left: ast.expr, sign: ast.cmpop, right: ast.expr, one: Any, other: Any) -> str:
    """Of a comparison whose sides cannot be compared in any run; `one` and `other` are such values."""
    written = ast.unparse(ast.Compare(left, [sign], [right]))
    sides = ((left, one), (right, other))
    said = " and ".join(
        f"{ast.unparse(node)} is {_kind(value)}" + ("" if isinstance(node, ast.Constant) else f" ({_shown(value)})")
        for node, value in sides
    )
    fits = _fitting(left, sign, right, one, other)
    return f"no run can fit {written!r}: {said}" + (f"; write {fits}" if fits else "")


def _fitting(left: ast.expr, sign: ast.cmpop, right: ast.expr, one: Any, other: Any) -> str:
    """What was probably meant; empty where that is not known."""
    if isinstance(sign, ast.In | ast.NotIn):
        name, constant = (right, left) if isinstance(left, ast.Constant) else (left, right)
        number = _number(constant.value) if isinstance(constant, ast.Constant) else ""
        same = "==" if isinstance(sign, ast.In) else "!="
        return f"{ast.unparse(name)} {same} {number}" if number and isinstance(other, float) else ""
    name, constant, value = (left, right, other) if isinstance(right, ast.Constant) else (right, left, one)
    if isinstance(one, tuple) or isinstance(other, tuple):
        return "tag == '...', since tags have no order" if not isinstance(sign, ast.Eq | ast.NotEq) else ""
    if isinstance(constant, ast.Constant) and isinstance(value, str) and (number := _number(value)):
        swapped = [ast.Name(number) if side is constant else side for side in (left, right)]
        return ast.unparse(ast.Compare(swapped[0], [sign], [swapped[1]]))
    if isinstance(one, bool) or isinstance(other, bool):
        text, state = (left, right) if isinstance(other, bool) else (right, left)
        if isinstance(state, ast.Name) and ast.unparse(text) == "state":
            return f"state == '{state.id}', or {state.id} alone"
        if isinstance(name, ast.Name | ast.Attribute) and isinstance(value, str):
            return f"{ast.unparse(name)}, or not {ast.unparse(name)}"
    return ""


def _number(text: object) -> str:
    """The number that a text is; empty where it is none."""
    try:
        float(str(text))
    except ValueError:
        return ""
    return str(text).strip()


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return "a list of texts"
    if isinstance(value, bool):
        return "yes or no"
    return "a text" if isinstance(value, str) else "a number"


def _shown(value: Any) -> str:
    """A value as the condition would write it."""
    if isinstance(value, tuple):
        return ", ".join(map(repr, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else repr(str(value)) if isinstance(value, str) else str(value)
