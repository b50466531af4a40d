"""Which runs fit a condition: `lr > 0.01 and best.val_loss < 0.3 and not failed`.

A condition is a small part of Python: comparisons, `and`, `or`, `not`, `in`, numbers, texts, and names of what was
recorded. Nothing of it is run as a program.

    lr, batch_size, seed          an argument, or a setting of the optimizer or the loader; the only one of that name
    optimizer.lr, argument.lr     the same, of one kind
    best.val_loss, final.loss     a result; `loss` is the one in training, `val_` stands for validation
    state, steps, script, commit, tag, note, started, id
    finished, failed, lost        the state by itself
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Any

from stethoscope.core.errors import UsageError
from stethoscope.facts.run import RunRecord
from stethoscope.store.comparing import settings_of
from stethoscope.store.labels import Labels

Value = float | str | bool | tuple[str, ...] | None
STATES = ("running", "finished", "failed", "interrupted", "lost", "broken")
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip


def values_of(record: RunRecord, labels: Labels) -> dict[str, Value]:
    """Everything of a run that a condition can name."""
    values: dict[str, Value] = {
        "id": record.id, "state": record.state, "steps": float(record.steps), "script": record.script,
        "started": record.started, "commit": str(record.git.get("commit", "")), "tag": labels.tags, "note": labels.note,
        "data": record.data_fingerprint,
    }  # fmt: skip
    values |= {state: record.state == state for state in STATES}
    values |= {_result_name(name): float(value) for name, value in record.results.items()}
    short: dict[str, set[str]] = {}
    for subject, name, text in settings_of(record):
        values.setdefault(f"{subject}.{name}", _read(text))
        last = name.rpartition(".")[2]
        values.setdefault(f"{subject}.{last}", _read(text))
        short.setdefault(last, set()).add(text)
    for name, texts in short.items():
        if len(texts) == 1:
            values.setdefault(name, _read(next(iter(texts))))
    return values


class Condition:
    """A condition that was read. Raises UsageError when it is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"cannot read the condition {text!r}: write it like lr > 0.01 and best.val_loss < 0.3") \
                from error  # fmt: skip
        self.names = tuple(dict.fromkeys(self._names(self._tree)))

    def fits(self, values: Mapping[str, Value]) -> bool:
        """Whether a run fits; what it does not have fits no comparison."""
        return bool(self._value(self._tree, values))

    def unknown(self, known: set[str]) -> str:
        """A sentence about a name that no run has; empty where there is none."""
        for name in self.names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
                hint = f"; there is {', '.join(near)}" if near else ""
                return f"no run has {name!r}{hint}"
        return ""

    def _names(self, node: ast.expr) -> list[str]:
        if isinstance(node, ast.BoolOp):
            return [name for part in node.values for name in self._names(part)]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            return self._names(node.operand)
        if isinstance(node, ast.Compare):
            if any(isinstance(sign, ast.Is | ast.IsNot) for sign in node.ops):
                raise UsageError(f"cannot use {ast.unparse(node)!r} in a condition: write == or != for `is`")
            return [name for part in (node.left, *node.comparators) for name in self._names(part)]
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bool):
            return []
        name = _dotted(node)
        if not name:
            raise UsageError(
                f"cannot use {ast.unparse(node)!r} in a condition: there are comparisons, and, or, not, in"
            )
        return [name]

    def _value(self, node: ast.expr, values: Mapping[str, Value]) -> Value:
        if isinstance(node, ast.BoolOp):
            parts = (bool(self._value(part, values)) for part in node.values)
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, values)
            if isinstance(node.op, ast.Not):
                return not value
            return -value if isinstance(value, int | float) else None
        if isinstance(node, ast.Compare):
            left = self._value(node.left, values)
            for sign, part in zip(node.ops, node.comparators, strict=True):
                right = self._value(part, values)
                if not _holds(sign, left, right):
                    return False
                left = right
            return True
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str | bool) else float(node.value)  # type: ignore[arg-type]
        return values.get(_dotted(node))


def _holds(sign: ast.cmpop, left: Value, right: Value) -> bool:
    if left is None or right is None:
        return False
    if isinstance(sign, ast.In | ast.NotIn):
        found = left in right if isinstance(right, str | tuple) and isinstance(left, str) else False
        return found == isinstance(sign, ast.In)
    if isinstance(left, tuple) or isinstance(right, tuple):
        tags, one = (left, right) if isinstance(left, tuple) else (right, left)
        return isinstance(tags, tuple) and (one in tags) == isinstance(sign, ast.Eq)
    if isinstance(left, str) != isinstance(right, str):
        return isinstance(sign, ast.NotEq)
    return type(sign) in _COMPARE and _COMPARE[type(sign)](left, right)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
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
