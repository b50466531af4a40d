"""Which runs fit a condition: `lr > 0.01 and best.val_loss < 0.3 and not failed`.

A condition is a small part of Python: comparisons, `and`, `or`, `not`, `in`, numbers, texts, and names of what was
recorded. Nothing of it is run as a program.

    lr, batch_size, seed          an argument, or a setting of the optimizer or the loader; the only one of that name
    optimizer.lr, argument.lr     the same, of one kind
    best.val_loss, final.loss     a result; `loss` is the one in training, `val_` stands for validation
    state, steps, script, module, model, optimizer, commit, tag, note, started, id
    finished, failed, lost        the state by itself

A script is known by its path, by its name and by a relative path; a commit by its beginning; a run by its words; a
day by its date. What no run can answer (`lr > '0.1'`, where every rate is a number) is told, and fits nothing silently.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stethoscope.core.errors import UsageError
from stethoscope.facts.run import RunRecord
from stethoscope.store.asking import no_such_name, of_other_kinds, unread
from stethoscope.store.comparing import settings_of
from stethoscope.store.known_by import Beginning, PathOf, RunId, equal
from stethoscope.store.labels import Labels

Value = float | str | bool | tuple[str, ...] | None
STATES = ("running", "finished", "failed", "interrupted", "lost", "broken")
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_NUMBERS = {"nan": math.nan, "inf": math.inf}
"""Names that stand for a number everywhere."""


def values_of(record: RunRecord, labels: Labels) -> dict[str, Value]:
    """Everything of a run that a condition can name."""
    values: dict[str, Value] = {
        "id": RunId(record.id), "state": record.state, "steps": float(record.steps), "script": PathOf(record.script),
        "started": Beginning(record.started), "commit": Beginning(record.git.get("commit", "")), "tag": labels.tags,
        "note": labels.note, "data": record.data_fingerprint,
    }  # fmt: skip
    values |= {"module": record.module} if record.module else {}
    values |= {state: record.state == state for state in STATES}
    values |= {_result_name(name): float(value) for name, value in record.results.items()}
    short: dict[str, set[str]] = {}
    for subject, name, text in settings_of(record):
        if not name:
            continue
        values.setdefault(f"{subject}.{name}", _read(text))
        last = name.rpartition(".")[2]
        values.setdefault(f"{subject}.{last}", _read(text))
        short.setdefault(last, set()).add(text)
    for name, texts in short.items():
        if len(texts) == 1:
            values.setdefault(name, _read(next(iter(texts))))
    for name, kinds in (
        ("optimizer", {one.get("kind") for one in record.optimizers}),
        ("model", {one.get("name") for one in record.models}),
    ):
        if len(kinds) == 1 and isinstance(kind := next(iter(kinds)), str):
            values.setdefault(name, kind)
    return values


class Condition:
    """A condition that was read. Raises UsageError when it is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(unread(text)) from error
        try:
            self.names = tuple(dict.fromkeys(self._names(self._tree)))
        except RecursionError as error:
            raise UsageError(unread(text)) from error
        if not self.names:
            raise UsageError(f"the condition {text!r} names nothing of a run: write it like lr > 0.01")

    def fits(self, values: Mapping[str, Value]) -> bool:
        """Whether a run fits; what it does not have fits no comparison."""
        return bool(self._value(self._tree, values))

    def unanswerable(self, runs: Sequence[Mapping[str, Value]]) -> str:
        """A sentence about what no run can answer: an unknown name, a text beside numbers; empty for none."""
        known = {name for values in runs for name in values}
        comparisons = [pair for node in ast.walk(self._tree) if isinstance(node, ast.Compare) for pair in _pairs(node)]
        for name in self.names:
            if name not in known:
                beside = [_dotted(left) for left, _, right in comparisons if _dotted(right) == name]
                return no_such_name(name, known, _texts(runs), next(iter(beside), ""))
        for left, sign, right in comparisons:
            both = [(self._value(left, values), self._value(right, values)) for values in runs]
            both = [(one, other) for one, other in both if one is not None and other is not None]
            if both and not any(_of_a_kind(sign, one, other) for one, other in both):
                return of_other_kinds(left, sign, right, *both[0])
        return ""

    def _names(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.BoolOp):
            return [name for part in node.values for name in self._names(part)]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            return self._names(node.operand)
        if isinstance(node, ast.Compare):
            if any(isinstance(sign, ast.Is | ast.IsNot) for sign in node.ops):
                raise UsageError(f"cannot use {ast.unparse(node)!r} in a condition: write == or != for `is`")
            sides = [node.left]
            for sign, part in zip(node.ops, node.comparators, strict=True):
                listed = isinstance(sign, ast.In | ast.NotIn) and isinstance(part, ast.Tuple | ast.List | ast.Set)
                sides += part.elts if listed else [part]  # type: ignore[attr-defined]
            return [name for part in sides for name in self._names(part)]
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bool):
            return []
        name = _dotted(node)
        if not name:
            raise UsageError(unread(self.text, ast.unparse(node)))
        return [] if name in _NUMBERS else [name]

    def _value(self, node: ast.expr, values: Mapping[str, Value]) -> Any:
        if isinstance(node, ast.BoolOp):
            parts = (bool(self._value(part, values)) for part in node.values)
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, values)
            if isinstance(node.op, ast.Not):
                return not value
            return -value if isinstance(value, int | float) else None
        if isinstance(node, ast.Compare):
            return all(
                _holds(sign, self._value(left, values), self._value(right, values))
                for left, sign, right in _pairs(node)
            )
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return [self._value(part, values) for part in node.elts]
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str | bool) else float(node.value)  # type: ignore[arg-type]
        name = _dotted(node)
        return values.get(name, _NUMBERS.get(name))


def _pairs(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    """`0 < lr < 1` as its two comparisons."""
    return zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)


def _texts(runs: Sequence[Mapping[str, Value]]) -> dict[str, list[str]]:
    """The texts that each name has somewhere; tags one by one."""
    found: dict[str, list[str]] = {}
    for name, value in (item for values in runs for item in values.items()):
        if isinstance(value, str | tuple):
            found.setdefault(name, []).extend([value] if isinstance(value, str) else value)
    return found


def _of_a_kind(sign: ast.cmpop, left: Any, right: Any) -> bool:
    """Whether a comparison can hold between values of these types."""
    if isinstance(sign, ast.In | ast.NotIn):
        return isinstance(right, list) or (isinstance(right, str | tuple) and isinstance(left, str))
    if isinstance(left, tuple) or isinstance(right, tuple):
        other = right if isinstance(left, tuple) else left
        return isinstance(other, str) and isinstance(sign, ast.Eq | ast.NotEq)
    return isinstance(left, str) == isinstance(right, str)


def _holds(sign: ast.cmpop, left: Any, right: Any) -> bool:
    if left is None or right is None or not _of_a_kind(sign, left, right):
        return False
    if isinstance(sign, ast.In | ast.NotIn):
        each = left if isinstance(left, tuple) else (left,)
        inside = any(equal(one, other) for one in each for other in right) if isinstance(right, list) else left in right
        return inside == isinstance(sign, ast.In)
    if isinstance(sign, ast.Eq | ast.NotEq):
        tags, one = (left, right) if isinstance(left, tuple) else (right, left)
        same = one in tags if isinstance(tags, tuple) else equal(left, right)
        return same == isinstance(sign, ast.Eq)
    return type(sign) in _COMPARE and _COMPARE[type(sign)](left, right)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and type(node.slice.value) is int:
        before = _dotted(node.value)  # optimizer.groups[1].lr, since `.1` is no name
        return f"{before}.{node.slice.value}" if before else ""
    return ""


def _result_name(name: str) -> str:
    """`best validation loss` as `best.val_loss`, `final training accuracy` as `final.accuracy`."""
    which, _, rest = name.partition(" ")
    rest = rest.removeprefix("training ").replace("validation ", "val_")
    return f"{which}.{rest}".replace(" ", "_").rstrip(".")


def _read(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text.strip("'\""))
