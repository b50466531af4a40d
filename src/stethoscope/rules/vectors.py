"""Columns that are the coordinates of one vector, such as an embedding or the pixels of a picture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from stethoscope.facts.data import Column

FEWEST = 32
"""Columns of a vector; fewer are read one by one."""
_NUMBERED = re.compile(r"(.*?)(\d+)")


def vectors(columns: Iterable[Column], fewest: float = FEWEST) -> tuple[tuple[str, ...], ...]:
    """The names of columns of numbers that begin alike and end in running numbers, as `emb_0` to `emb_63`.

    Args:
        columns: of a set.
        fewest: columns of a vector.
    """
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for column in columns:
        parted = _NUMBERED.fullmatch(column.name)
        if column.kind == "number" and parted is not None:
            found[parted[1]][int(parted[2])] = column.name
    return tuple(
        tuple(names[place] for place in sorted(names))
        for names in found.values()
        if len(names) >= fewest and max(names) - min(names) + 1 == len(names)
    )
