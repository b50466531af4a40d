"""The folders that a file adds to those in which modules are looked for: `sys.path.append("../src")`.

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))       the folder `src` beside the folder of the file

Paths are put together as the lines say: from `__file__`, or from the working directory, which is the folder of the file
itself or the top of its project, as people start it.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from stethoscope.facts.parsed import parsed_text
from stethoscope.observe.code.reading import Unreadable, source_of

_SAID = b"sys.path"
_CHANGED = re.compile(rb"sys\.path\s*(?:\.|\[|\+=|=)")
"""What may change it: a text without is not read further."""
_ASKED = re.compile(rb"\bin\s+sys\.path\b")
_COMMENT = re.compile(rb"#[^\n]*")
_SAME = frozenset({
    "str", "Path", "pathlib.Path", "PurePath", "os.fspath", "os.path.abspath", "os.path.realpath", "os.path.normpath",
    "path.abspath", "path.realpath", "osp.abspath", "osp.realpath", "abspath", "realpath",
})  # fmt: skip
"""Functions that give the path that they are given, written otherwise."""
_FOLDER_OF = frozenset({"os.path.dirname", "path.dirname", "osp.dirname", "dirname"})
_JOINED = frozenset({"os.path.join", "path.join", "osp.join", "join"})
_HERE = frozenset({"os.getcwd", "getcwd", "Path.cwd", "pathlib.Path.cwd"})
_SAME_METHODS = frozenset({"resolve", "absolute", "as_posix", "expanduser"})
_NAMES = {"os.pardir": "..", "os.curdir": ".", "os.sep": "/", "os.path.sep": "/"}
_DEEPEST = 12
"""Names and calls inside of each other that are followed."""


class Added(NamedTuple):
    """What a file adds."""

    first: tuple[str, ...] = ()
    """Folders that come before its own."""
    last: tuple[str, ...] = ()
    is_whole: bool = True
    """Whether each line that speaks of `sys.path` is one that adds a folder which is there, and is the project's."""

    @property
    def folders(self) -> tuple[str, ...]:
        """All of them."""
        return self.first + self.last


class AddedPaths:
    """Asks each file once."""

    def __init__(self, bytes_of: Callable[[str], bytes], is_folder: Callable[[str], bool]) -> None:
        self._bytes_of, self._is_folder = bytes_of, is_folder
        self._known: dict[str, Added] = {}

    def of(self, own: str, top: str) -> Added:
        """What the file adds that lies in the project with this top."""
        if own not in self._known:
            data = self._bytes_of(own)
            is_changed = _SAID in data and _CHANGED.search(data) is not None
            self._known[own] = self._of(data, own, top) if is_changed else Added(is_whole=_only_asks(data))
        return self._known[own]

    def _of(self, data: bytes, own: str, top: str) -> Added:
        try:
            text = source_of(data, own).text
        except Unreadable:
            return Added(is_whole=False)
        whole = parsed_text(text, own)
        if whole is None:
            return Added(is_whole=False)
        reader = _Paths(whole.nodes, own)
        first, last, count = list[str](), list[str](), 0
        for is_first, node in _additions(whole.nodes):
            path = reader.path_of(node)
            there = [one for one in _places_of(path, own, top) if self._is_folder(one)]
            count += any(_is_inside(one, top) for one in there)
            (first if is_first else last).extend(there)
        asked = {id(each) for one in whole.nodes if isinstance(one, ast.Compare) for each in one.comparators}
        said = sum(_dotted(one) == "sys.path" and id(one) not in asked for one in whole.nodes)
        return Added(tuple(dict.fromkeys(first)), tuple(dict.fromkeys(last)), count == said)


def _only_asks(data: bytes) -> bool:
    """Whether a text that changes nothing only looks something up in `sys.path`, and hands it to nobody."""
    code = _COMMENT.sub(b"", data) if _SAID in data else b""
    return len(_ASKED.findall(code)) == len(re.findall(rb"sys\.path\b", code))


_FROM_FILE = "\0"
"""What a path begins with that is put together from `__file__`: as the file is given, and no other base is wanted."""


def _places_of(path: str | None, own: str, top: str) -> Iterator[str]:
    """Where a path may lead; one from the top of a project stays in it."""
    if path is None:
        return
    yield _placed("" if path.startswith(_FROM_FILE) else os.path.dirname(own), path)
    if not path.startswith(_FROM_FILE) and _is_inside(place := _placed(top, path), top):
        yield place


def _placed(base: str, path: str) -> str:
    place = os.path.normpath(os.path.join(base, path.removeprefix(_FROM_FILE)))
    return "" if place == "." else place


def _is_inside(folder: str, top: str) -> bool:
    return not top or folder == top or folder.startswith(top + os.sep)


def _additions(nodes: Sequence[ast.AST]) -> Iterator[tuple[bool, ast.expr]]:
    """What is put into `sys.path`, and whether it comes first."""
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute() as value, attr="append"), args=[added]):
                if _dotted(value) == "sys.path":
                    yield False, added
            case ast.Call(func=ast.Attribute(value=ast.Attribute() as value, attr="insert"), args=[_, added]):
                if _dotted(value) == "sys.path":
                    yield True, added


class _Paths:
    """Puts paths together that a text writes."""

    def __init__(self, nodes: Sequence[ast.AST], own: str) -> None:
        self._own = own
        self._values: dict[str, ast.expr | None] = {}
        for node in nodes:
            for name, value in _bound(node):
                self._values[name] = None if name in self._values else value

    def path_of(self, node: ast.expr | None, depth: int = 0) -> str | None:
        """A path, None where it is not told."""
        if node is None or depth > _DEEPEST:
            return None
        inner: list[str | None]
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.Name(id="__file__"):
                return None if self._own.endswith(".ipynb") else _FROM_FILE + self._own
            case ast.Name(id=name):
                return self.path_of(self._values.get(name), depth + 1)
            case ast.JoinedStr(values=values):
                inner = [self.path_of(one, depth + 1) for one in values]
                return None if None in inner else "".join(one for one in inner if one is not None)
            case ast.FormattedValue(value=value):
                return self.path_of(value, depth + 1)
            case ast.BinOp(left=left, op=ast.Div() | ast.Add() as op, right=right):
                inner = [self.path_of(left, depth + 1), self.path_of(right, depth + 1)]
                return _joined(inner) if isinstance(op, ast.Div) else _added(inner)
            case ast.Attribute(value=value, attr="parent"):
                return _above(self.path_of(value, depth + 1))
            case ast.Subscript(value=ast.Attribute(value=value, attr="parents"), slice=ast.Constant(value=int() as up)):
                path = self.path_of(value, depth + 1)
                for _ in range(min(max(up, 0), _DEEPEST) + 1):
                    path = _above(path)
                return path
            case ast.Attribute():
                return _NAMES.get(_dotted(node))
            case ast.Call():
                return self._called(node, depth)
        return None

    def _called(self, call: ast.Call, depth: int) -> str | None:
        name, given = _dotted(call.func), [self.path_of(one, depth + 1) for one in call.args]
        if name in _HERE:
            return "."
        if name in _SAME or name in _FOLDER_OF:
            path = given[0] if given else None
            return _above(path) if name in _FOLDER_OF else path
        if name in _JOINED:
            return _joined(given)
        if not isinstance(call.func, ast.Attribute):
            return None
        before = self.path_of(call.func.value, depth + 1)
        if call.func.attr == "joinpath":
            return _joined([before, *given])
        return before if call.func.attr in _SAME_METHODS else None


def _bound(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """The names that a line binds, with what it binds them to."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            yield name, value
        case ast.Assign(targets=[ast.Tuple() as several]):
            yield from ((one.id, None) for one in several.elts if isinstance(one, ast.Name))
        case ast.AugAssign(target=ast.Name(id=name)) | ast.For(target=ast.Name(id=name)):
            yield name, None
        case ast.arg(arg=name):
            yield name, None


def _joined(parts: Sequence[str | None]) -> str | None:
    told = [one for one in parts if one is not None]
    if len(told) < len(parts) or not told or any(one.startswith(_FROM_FILE) for one in told[1:]):
        return None
    mark = _FROM_FILE if told[0].startswith(_FROM_FILE) else ""
    return mark + os.path.join(told[0].removeprefix(mark), *told[1:])


def _added(parts: Sequence[str | None]) -> str | None:
    told = [one for one in parts if one is not None]
    return None if len(told) < len(parts) or any(one.startswith(_FROM_FILE) for one in told[1:]) else "".join(told)


def _above(path: str | None) -> str | None:
    """The folder in which something lies."""
    if path is None:
        return None
    mark = _FROM_FILE if path.startswith(_FROM_FILE) else ""
    place = os.path.normpath(path.removeprefix(mark) or ".")
    is_up = os.path.basename(place) in ("", ".", "..")
    return mark + (os.path.join(place, os.pardir) if is_up else os.path.dirname(place))


def _dotted(node: ast.AST) -> str:
    """`os.path.join` of the node that says so; empty for others."""
    if isinstance(node, ast.Name):
        return node.id
    before = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if before and isinstance(node, ast.Attribute) else ""
