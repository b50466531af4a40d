"""What a file asks of modules of its own project that do not have it.

import train
train.evaluate(scores)      nothing in `train.py` is called so
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from stethoscope.facts.code import At, Code
from stethoscope.facts.linked import Import
from stethoscope.facts.parsed import Parsed


def asked_in_vain(code: Code, whole: Parsed) -> Iterator[At]:
    """Where a file asks a module of its project for a name that it surely does not bind."""
    modules = {} if code.cells else _modules(code, whole)
    for name, module in modules.items():
        asked: dict[str, list[ast.Attribute]] = {}
        for node in whole.nodes:
            match node:
                case ast.Attribute(value=ast.Name(id=said), attr=attribute, ctx=ast.Load()) if said == name:
                    asked.setdefault(attribute, []).append(node)
        if not asked or not _lacks(code, module, *asked):
            continue
        for attribute, nodes in asked.items():
            if _lacks(code, module, attribute) and not _is_given(code, attribute):
                yield from map(_at, nodes)


def _at(node: ast.expr) -> At:
    return At(node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)


def _modules(code: Code, whole: Parsed) -> dict[str, Import]:
    """By the names that nothing else in the file binds, what may be modules of the project."""
    found: dict[str, Import] = {}
    other = set[str]()
    for node in whole.nodes:
        match node:
            case ast.Import(names=names):
                for one in names:
                    own = one.asname or one.name.partition(".")[0]
                    other |= {own} & set(found)
                    found[own] = Import(one.name if one.asname else own, 0, ())
            case ast.ImportFrom(module=module, names=names, level=dots):
                for one in names:
                    own = one.asname or one.name
                    other |= {own} & set(found)
                    found[own] = Import(f"{module or ''}.{one.name}".strip("."), dots, (one.name,))
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                other.add(name)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                other.add(name)
    return {name: one for name, one in found.items() if name not in other}


def _lacks(code: Code, module: Import, *names: str) -> bool:
    """Whether a module does not have all of these, where it is one of the project."""
    is_lost = bool(code.linked.lost([module._replace(names=names)]))
    return is_lost and not (module.names and _may_be_no_module(code, module.names[0]))


def _may_be_no_module(code: Code, name: str) -> bool:
    """Whether the package of a module may have something else of its name: `from .train import train`."""
    return _is_said(code, re.compile(rf"\b(?:def|class|as)\s+{name}\b|^\s*{name}\s*[:=]", re.M), name)


def _is_given(code: Code, name: str) -> bool:
    """Whether a module may be given something of this name from outside."""
    return _is_said(code, re.compile(rf"\.{name}\s*(?::[^=\n]*)?=(?!=)|[\"']{name}[\"']"), name)


def _is_said(code: Code, pattern: re.Pattern[str], word: str) -> bool:
    text = code.linked.anywhere(word)
    return text is None or code.matches(pattern) or pattern.search(text) is not None
