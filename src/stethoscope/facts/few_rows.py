"""Whether what a loop goes over has a few rows for certain: a `DataLoader` over an array whose first side is 1.

seen = np.zeros((1, 30))
for (x,) in DataLoader(TensorDataset(torch.from_numpy(seen))): ...
"""

from __future__ import annotations

import re

from stethoscope.facts.code import Call, Code, Group, Item, Name, Operation, Value
from stethoscope.facts.things import followed, literal

DEEPEST = 12
"""Values that are followed from a loader back to the array that is made, at most."""
_MADE = re.compile(r"(?:numpy|torch)\.(?:zeros|ones|empty|full)$")
_DRAWN = frozenset({"torch.rand", "torch.randn", "numpy.random.rand", "numpy.random.randn"})
"""Functions whose arguments, or a tuple of them, are the sides."""
_WRAPPED = frozenset({"torch.utils.data.DataLoader", "torch.utils.data.TensorDataset", "torch.from_numpy",
                      "torch.tensor", "torch.as_tensor", "numpy.array", "numpy.asarray"})  # fmt: skip
_SAME_ROWS = frozenset({".float", ".double", ".half", ".long", ".to", ".cuda", ".cpu", ".astype", ".copy", ".clone",
                        ".detach", ".numpy", ".contiguous", ".type"})  # fmt: skip


def has_few_rows(code: Code, value: Value | None, most: int, depth: int = 0) -> bool:
    """Whether a loader, a data set or an array has at most so many rows, each read off where it is made."""
    found, _ = followed(code, value)
    if depth > DEEPEST or found is None:
        return False
    if isinstance(found, Item):
        key = found.key.items[0] if isinstance(found.key, Group) and found.key.items else found.key
        is_part = isinstance(key, Operation) and key.operator == ":"
        return is_part and has_few_rows(code, found.value, most, depth + 1)
    if not isinstance(found, Call):
        return False
    if found.name in _WRAPPED:
        return has_few_rows(code, found.argument(0), most, depth + 1)
    if found.name in _SAME_ROWS:
        return has_few_rows(code, found.receiver, most, depth + 1)
    if found.name == ".unsqueeze":
        return literal(code, found.argument(0)) == 0
    if _MADE.match(found.name) or found.name in _DRAWN:
        rows = _first_side(code, found.argument(0, "shape") or found.keyword("size"))
        return rows is not None and 0 < rows <= most
    return False


def _first_side(code: Code, sides: Value | None) -> int | None:
    """How many rows an array gets, by the sides it is made with; also where their first is set on a line of its own."""
    found, way = followed(code, sides)
    if isinstance(sides, Name) and way:
        told = _set_to(code, sides, way[-1].at.end_line)
        if told is not None:
            return told
    if isinstance(found, Group) and found.kind in ("tuple", "list") and found.items:
        found = found.items[0]
    rows = literal(code, found)
    return rows if isinstance(rows, int) and not isinstance(rows, bool) else None


def _set_to(code: Code, sides: Name, after: int) -> int | None:
    """What the first side is set to between the line that makes the list and the one that uses it: `shape[0] = 1`."""
    said = re.compile(rf"\s*{re.escape(sides.name)}\[0\]\s*=\s*(\d+)\s*(?:#|$)")
    lines = (said.match(line) for line in code.lines[after : sides.at.line - 1])
    found = [int(one.group(1)) for one in lines if one is not None]
    return found[-1] if found else None
