"""What all calls of a project give a function: the constants that its parameters have, whoever calls it.

def load(data, spread=False):
    if spread: ...                  all that is said of `load` anywhere is `from data import load` and `load(rows)`

Where anything else is said of it, as where it is handed over, nothing is known of who calls it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from stethoscope.facts.code import NOWHERE, At, Call, Code, Constant, Name, Starred, Symbol, Unknown, Value
from stethoscope.facts.evaluated import Scope
from stethoscope.facts.origins import bases, call_sites
from stethoscope.facts.parsed import Parsed, parsed
from stethoscope.facts.things import Thing, followed
from stethoscope.facts.ways import UNTOLD, comes_to, handed_by

MOST_CALLERS = 4
"""Callers of callers that are followed, at most."""
_PLAIN_BASES = frozenset({"builtins.object", "abc.ABC", "torch.nn.Module", "torch.nn.modules.module.Module"})
"""Bases that call no method of their heirs but these:"""
_ASKED_BY_BASE = frozenset({"forward", "extra_repr", "state_dict", "load_state_dict", "train", "eval", "to", "apply"})
_BY_TEXT = ("getattr(", "globals()", "locals()", "vars(", "eval(", "exec(", "__dict__")
"""Words of files that may take a function by its name, as a text."""
_IMPORTING = ("import_module", "__import__", "spec_from_file_location", "run_path", "load_source")
"""Words of files that import others by a text."""
_ALL_OPEN = re.compile(r"\bFire\(\s*\)|\bCLI\(\s*\)")
"""Lines by which all functions of a file may be called from a command line."""
_MADE_OTHERWISE = re.compile(r"\bcls\(|__class__|\btype\(self\)|__new__")
_IMPORT = re.compile(r"^[ \t]*(?:from\s+[\w.]+\s+)?import\s*(?:\([^)]*\)|[^\n(]*(?:\\\n[^\n]*)*)", re.M)
_APART = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[()]")
"""Texts and brackets."""
_ELSEWHERE = At(0, 0, 0, 0)

_Calls = tuple[Mapping[int, Value | None], ...]
"""What each call gives, by the bindings of the parameters."""


def values_given(code: Code, binding: int, depth: int = 0) -> frozenset[object] | None:
    """The constants that the calls of the project give a parameter; None where nobody calls its function, or any call
    that may be there gives something else.
    """
    index = code.function_at(code.bindings[binding].context)
    known: dict[int, _Calls] = code.memo.setdefault("callers", {})
    if index not in known:
        known[index] = ()
        known[index] = _calls(code, index) or ()
    found = set[object]()
    for call in known[index] if depth <= MOST_CALLERS else ():
        given = _values(code, call.get(binding), binding, depth)
        if given is None:
            return None
        found |= given
    return frozenset(found) or None


def _values(code: Code, value: Value | None, asked: int, depth: int) -> frozenset[object] | None:
    found, _ = followed(code, value)
    if isinstance(found, Name) and found.binding != NOWHERE and code.bindings[found.binding].how == "argument":
        handed_on = found.binding == asked  # by the function itself
        return frozenset() if handed_on else values_given(code, found.binding, depth + 1)
    one = comes_to(code, value, lambda binding: UNTOLD)
    return None if one is UNTOLD else frozenset({one})


def _calls(code: Code, index: int) -> _Calls | None:
    """All calls of a function in its project, None where they may not be all, or something else may call it."""
    function = code.functions[index]
    whole = parsed(code)
    makes = function.name == "__init__" and function.owner != NOWHERE
    name = code.classes[function.owner].name if makes else function.name
    is_method = function.owner != NOWHERE and not makes
    if whole is None or not index or not name.isidentifier() or (name.startswith("__") and name.endswith("__")):
        return None
    if any(not _is_plain(one) for one in function.decorators) or code.matches(_ALL_OPEN):
        return None
    if function.owner != NOWHERE and not _is_plain_class(code, function.owner, name, is_method=is_method):
        return None
    own = code.calls_of(f".{name}") if is_method else call_sites(code, index)
    if not _are_all(whole, name, len(own), is_method=is_method) or (_is_quoted(code.uncommented(), name)):
        return None
    beside = _calls_beside(code, index, name, is_method=is_method)
    if beside is None:
        return None
    return tuple(dict(handed_by(call, function)) for call in (*own, *(_call(one) for one in beside)))


def _is_plain(decorator: Value) -> bool:
    """Whether a decorator leaves a function to those that call it: `@torch.no_grad()`."""
    return isinstance(decorator, Symbol | Call) and decorator.name.startswith(("torch.", "builtins.staticmethod"))


def _is_plain_class(code: Code, owner: int, name: str, *, is_method: bool) -> bool:
    """Whether nothing that is not seen makes a class, or calls its methods."""
    cls = code.classes[owner]
    above = code.lines[cls.at.line - 2].strip() if cls.at.line > 1 else ""
    if above.startswith("@") or code.lines[cls.at.line - 1].strip().startswith("@"):
        return False
    is_known = all(one in _PLAIN_BASES for one in bases(Thing("class", cls.name, code, owner)))
    if is_method:
        return is_known and name not in _ASKED_BY_BASE
    return not code.matches(_MADE_OTHERWISE, cls.at)


def _are_all(whole: Parsed, name: str, calls: int, *, is_method: bool) -> bool:
    """Whether a file defines something of a name once, and says it only where it calls it, so many times."""
    defined = [one for one in whole.nodes if isinstance(one, Scope | ast.ClassDef) and one.name == name]
    called = {id(one.func) for one in whole.nodes if isinstance(one, ast.Call)}
    said = list[bool]()
    for node in whole.nodes:
        match node:
            case ast.Attribute(attr=own) if is_method and own == name:
                said.append(id(node) in called)
            case ast.Name(id=own) if not is_method and own == name:
                said.append(id(node) in called)
            case ast.arg(arg=own) | ast.alias(name=own) | ast.alias(asname=own) if own == name and not is_method:
                return False
    return len(defined) == 1 and all(said) and len(said) == calls


def _is_quoted(text: str, name: str) -> bool:
    """Whether a name may be used as a text, by which its function is taken."""
    return any(word in text for word in _BY_TEXT) and re.search(rf"[\"']{name}[\"']", text) is not None


def _calls_beside(code: Code, index: int, name: str, *, is_method: bool) -> list[ast.Call] | None:
    """The calls in other files of the project, None where something else is said of the function there."""
    is_nested = any(here.kind == "function" for here in list(code.around(code.functions[index].context))[1:])
    text = "" if is_nested and not is_method else code.linked.anywhere(name)
    if not text or not (is_method or _is_imported(code)):
        return None if text is None else []
    if re.search(rf"\bas\s+{name}\b|\b{name}\s+as\b", text) or _is_quoted(text, name):
        return None
    left, found = _IMPORT.sub("", text), list[ast.Call]()
    for said in re.finditer(rf"(?<!\w){name}(?!\w)", left):
        before, after = left[max(0, said.start() - 20) : said.start()], left[said.end() : said.end() + 1]
        is_module = after == "." and code.module.rpartition(".")[2] == name
        if is_module or (before[-1:] in ("'", '"') and before[-1:] == after):
            continue
        call = _call_at(left, said.end())
        if call is None or re.search(r"\b(?:def|class)\s+$", before) or (is_method and not before.endswith(".")):
            return None
        found.append(call)
    return found


def _is_imported(code: Code) -> bool:
    """Whether any file of the project may import this one."""
    known: bool | None = code.memo.get("imported")
    if known is None:
        stem = code.module.rpartition(".")[2]
        text = code.linked.anywhere(stem, *_IMPORTING) if stem else "" if code.cells else None
        is_package = code.file.endswith("__init__.py")
        known = code.memo["imported"] = text is None or is_package or _imports(text, stem)
    return known


def _imports(text: str, stem: str) -> bool:
    module = rf"\bfrom\s+[\w.]*\b{re.escape(stem)}\s+import\b"
    return (
        any(word in text for word in _IMPORTING)
        or re.search(module, text) is not None
        or any(re.search(rf"\b{re.escape(stem)}\b", one.group()) for one in _IMPORT.finditer(text))
    )


def _call_at(text: str, start: int) -> ast.Call | None:
    """The call whose brackets begin there."""
    if text[start : start + 1] != "(":
        return None
    depth = 0
    for one in _APART.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(one.group(), 0)
        if not depth:
            try:
                found = ast.parse(f"f{text[start : one.end()]}", mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return None
            return found if isinstance(found, ast.Call) else None
    return None


def _call(read: ast.Call) -> Call:
    """A call of another file, of which only the constants are known."""
    keywords = tuple((one.arg or "", _constant(one.value)) for one in read.keywords)
    return Call("()", None, tuple(_constant(one) for one in read.args), keywords, _ELSEWHERE, 0, NOWHERE)


def _constant(node: ast.expr) -> Value:
    match node:
        case ast.Starred():
            return Starred(Unknown("unpacked", _ELSEWHERE), _ELSEWHERE)
        case ast.Constant(value=value):
            return Constant(value, _ELSEWHERE)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return Constant(-value, _ELSEWHERE)
    return Unknown("of another file", _ELSEWHERE)
