"""Names that functions look up, and that nothing in their file binds: the line that asks for one ends with an error."""

from __future__ import annotations

import re
import symtable

from stethoscope.facts.code import Code
from stethoscope.facts.parsed import Parsed, bound_by_module

_BINDS_BY_NAME = re.compile(
    r"\bglobals\(|\bexec\(|\bexecfile\(|\bbuiltins\b|__builtins?__|\bsys\.modules\b|\bvars\(\)|\blocals\(\)\s*[.\[]"
)
"""What may bind a name that stands in no statement."""
_BY_HOSTS = frozenset({
    "get_ipython", "display", "In", "Out", "_", "__", "ngettext", "profile", "reveal_type", "ic", "spark", "sc",
    "sqlContext", "dbutils", "displayHTML", "__class__", "__IPYTHON__", "__cached__",
})  # fmt: skip
"""Names that notebooks and profilers give, and `gettext`."""
_OF_PYTHON_2 = frozenset({
    "xrange", "unicode", "raw_input", "long", "basestring", "reduce", "unichr", "file", "cmp", "reload", "buffer",
    "apply", "intern", "coerce", "StandardError",
})  # fmt: skip
"""Builtins of Python 2, in which the file did run."""

Unbound = dict[tuple[str, int], frozenset[str]]


def unbound_names(code: Code, whole: Parsed) -> Unbound:
    """By name and line of a function, what it looks up among the module's names and does not find there.

    Empty where an `import *`, a magic of a notebook or a cell that does not parse may bring any name.
    """
    if code.stars or code.confusing or code.matches(_BINDS_BY_NAME):
        return {}
    bound = bound_by_module(whole) | _BY_HOSTS | _OF_PYTHON_2
    found: Unbound = {}
    waiting = list(whole.table.get_children())
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        if isinstance(table, symtable.Function):
            names = {one.get_name() for one in table.get_symbols() if one.is_global() and one.is_referenced()}
            if names - bound:
                found[table.get_name(), table.get_lineno()] = frozenset(names - bound)
    return found
