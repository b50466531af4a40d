"""A source to its facts, whatever it holds: never an exception but `Unreadable`."""

from __future__ import annotations

import ast
import warnings
from bisect import bisect_left

from stethoscope.facts.code import Code
from stethoscope.observe.code.lowering import Lowering
from stethoscope.observe.code.notebooks import FLAGS
from stethoscope.observe.code.reading import Source, Unreadable, why_no_python

BY_IPYTHON = "%"
"""Among the modules of which everything was imported: what a notebook's lines of IPython's own bind."""


def facts_of(source: Source, module: str = "", *, is_package: bool = False) -> Code:
    """The facts of a file.

    Args:
        source: its text.
        module: its dotted name from the top of its project.
        is_package: whether it is the `__init__.py` of that module.

    Raises: Unreadable when it is no Python that this interpreter can parse, with the reason.
    """
    tree = _parsed(source)
    lowering = Lowering(module, is_package=is_package, last_lines=_last_lines(source, tree))
    lowering.confusing += source.left_out
    lowering.stars = (BY_IPYTHON,) if source.brings_names else ()
    lowering.says_torch = "torch" in source.text
    try:
        lowering.read(tree)
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error
    return lowering.code(source.file, module, source.text.split("\n"), source.cells)


def _parsed(source: Source) -> ast.Module:
    flags = FLAGS if source.cells else ast.PyCF_ONLY_AST
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in the user's strings are not our subject
            tree = compile(source.text, source.file or "<text>", "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(why_no_python(error, source)) from error
    if not isinstance(tree, ast.Module):
        raise Unreadable("does not parse")
    return tree


def _last_lines(source: Source, tree: ast.Module) -> frozenset[int]:
    """The lines at which the last statement of each cell ends: a notebook shows its value."""
    if not source.cells:
        return frozenset()
    ends = [statement.end_lineno or 0 for statement in tree.body]
    starts = [statement.lineno for statement in tree.body]
    last = set()
    for index, (_, _first) in enumerate(source.cells):
        following = source.cells[index + 1][1] if index + 1 < len(source.cells) else len(source.text)
        before = bisect_left(starts, following) - 1
        if before >= 0:
            last.add(ends[before])
    return frozenset(last)
