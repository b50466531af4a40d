"""Attributes that methods read, and that nothing in the project gives: the line that asks for one ends with an error.

#self.cuda = args.cuda      the only line that gives it is no code
if self.cuda:               ends with an error

Only classes whose bases are all seen are looked at, and only where nobody can give an attribute by a computed name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

from stethoscope.facts.code import NOWHERE, Code
from stethoscope.facts.evaluated import Scope, evaluated
from stethoscope.facts.origins import bases, called, lineage
from stethoscope.facts.parsed import Parsed
from stethoscope.facts.signatures import has_heirs
from stethoscope.facts.things import Thing

GIVES_BY_NAME = re.compile(
    r"setattr|__dict__|__getattr|__slots__|\bvars\(|\bexec\(|\bglobals\(|\blocals\(|NotImplementedError|abstractmethod"
    r"|(?:register_buffer|register_parameter|register_module|add_module)\((?!\s*[\"'])"
)
"""What may give an attribute that no statement names; or what says that heirs give it."""
_FOR_HEIRS = re.compile(r"Base|Abstract|Mixin|^I[A-Z][a-z]|Interface")
_MODULES = frozenset({"torch.nn.Module"})
_KNOWN = _MODULES | {"torch.utils.data.Dataset", "torch.utils.data.dataset.Dataset", "builtins.object"}
"""Bases whose attributes are listed here."""
OF_MODULES = frozenset(
    """
    T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl _forward_hooks
    _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks _forward_pre_hooks_with_kwargs
    _get_backward_hooks _get_backward_pre_hooks _get_name _is_full_backward_hook _load_from_state_dict
    _load_state_dict_post_hooks _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
    _non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook _register_state_dict_hook
    _replicate_for_data_parallel _save_to_state_dict _slow_forward _state_dict_hooks _state_dict_pre_hooks
    _tracing_name _version _wrapped_call_impl add_module apply bfloat16 buffers call_super_init children compile cpu
    cuda double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half
    ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters
    register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train
    training type xpu zero_grad
    _gradient_checkpointing_func gradient_checkpointing _hf_hook hf_device_map
    """.split()  # noqa: SIM905 - nobody could read it as a list
)


class _Said(NamedTuple):
    """The attributes that the lines of a class speak of."""

    own: tuple[ast.Attribute, ...]
    """What its methods set or ask of `self`."""
    given: frozenset[str]
    """What they set without asking for it, and what the body binds."""
    read: frozenset[str]
    """What they ask for."""


class Unset:
    """Answers which attributes of the classes of a file nothing gives."""

    def __init__(self, code: Code, whole: Parsed) -> None:
        is_open = code.matches(GIVES_BY_NAME) or bool(code.confusing)
        self._code = code
        self._nodes = {} if is_open else _classes(code, whole)
        self._said = {number: _said(node) for number, node in self._nodes.items()}
        of_self = {id(one) for said in self._said.values() for one in said.own}
        self._others = frozenset[str]() if is_open else frozenset(_set_by_others(whole, of_self))
        self._in_file = frozenset[str]()
        if not is_open:
            self._in_file = frozenset((*OF_MODULES, *_set_by_others(whole, set()), *_bound(whole)))
        self._known: dict[int, frozenset[str]] = {}
        self._lacked = {number: self._lacking(number) for number in self._said}
        self.names = frozenset[str]().union(*self._lacked.values())
        """All that any class of the file may lack."""

    def missing(self, node: Scope, number: int, owner: int) -> frozenset[str]:
        """What the `self` of a method lacks whenever it is called; nothing where that cannot be known."""
        if not self._lacked.get(owner) or not _is_self(node):
            return frozenset()
        if owner not in self._known:
            self._known[owner] = self._surely_lacking(owner)
        found = self._known[owner]
        if not found and is_whole(self._code, owner) and self._is_own(number, owner):
            found = frozenset(name for name in self._lacked[owner] if name not in self._in_file)
        return found

    def _lacking(self, owner: int) -> frozenset[str]:
        """What a class reads, and neither gives itself nor inherits from one of the file."""
        read = self._said[owner].read - self._said[owner].given - self._others
        if not read:
            return read
        thing = Thing("class", self._code.classes[owner].name, self._code, owner)
        for home, cls in lineage(thing):
            number = home.classes.index(cls) if home is self._code else NOWHERE
            read -= self._said[number].given if number in self._said else frozenset()
        read -= OF_MODULES if set(bases(thing)) - (_KNOWN - _MODULES) else frozenset()
        return frozenset(name for name in read if not (name.startswith("__") and name.endswith("__")))

    def _surely_lacking(self, owner: int) -> frozenset[str]:
        """The same of a class that nobody inherits from, where no other file of the project gives it."""
        cls = self._code.classes[owner]
        if not is_whole(self._code, owner) or has_heirs(self._code, cls):
            return frozenset()
        names = self._lacked[owner]
        family = [one for _, one in lineage(Thing("class", cls.name, self._code, owner))]
        is_told = all(self._code.classes.index(one) in self._said for one in family)
        if not is_told or not any("__init__" in one.methods for one in family):
            return frozenset()  # without a constructor it may well be a part of other classes
        text = self._code.linked.anywhere(*names, cls.name)
        if text is None:
            return frozenset()
        is_handed = bool(_handed(self._nodes[owner]))
        names -= self._in_file if is_handed else frozenset()
        is_made = re.search(rf"(?<!class )\b{cls.name}\s*\(", text) or self._makes(owner)
        asked = frozenset() if is_made else _called(self._nodes[owner])  # methods that heirs of others may have
        said = (name for name in names - asked if name in text)
        return names - asked - {name for name in said if _given_in(name, by_self=is_handed).search(text)}

    def _makes(self, owner: int) -> bool:
        things = (called(self._code, call) for call in self._code.calls)
        return any(one.kind == "class" and one.code is self._code and one.number == owner for one in things)

    def _is_own(self, number: int, owner: int) -> bool:
        """Whether the file itself makes a class, and until its constructor is done, or where that is the module's own
        variable, nobody else gives it any attribute.
        """
        code = self._code
        things = ((call, called(code, call)) for call in code.calls)
        made = [call for call, one in things if one.kind == "class" and one.code is code and one.number == owner]
        is_first = code.functions[number].name == "__init__"
        return any(is_first or code.function_at(call.context) == 0 for call in made)


def is_whole(code: Code, number: int) -> bool:
    """Whether a class and all that it inherits from is seen, and it is made to be used itself."""
    thing = Thing("class", code.classes[number].name, code, number)
    family = list(lineage(thing))
    return (
        all(home is code and not _FOR_HEIRS.search(cls.name) for home, cls in family)
        and all(name in _KNOWN for name in bases(thing))
        and len({cls.at for _, cls in family}) == len(family)
    )


def _is_self(node: Scope) -> bool:
    """Whether the first parameter of a method is `self`, and stays it."""
    names = (one for one in ast.walk(node) if isinstance(one, ast.Name) and one.id == "self")
    return _first(node) == "self" and all(isinstance(one.ctx, ast.Load) for one in names)


def _given_in(name: str, *, by_self: bool) -> re.Pattern[str]:
    """How another file gives an attribute of this name to an object; also to its own, where it may be handed others."""
    said, but, behind = re.escape(name), "" if by_self else r"(?!self\b)", "" if by_self else r"(?<!\bself)"
    other = rf"{but}[\w.\[\]]+\.{said}"
    return re.compile(
        rf"{behind}\.{said}\s*(?:[-+*/|&]|//)?=(?!=)|\b(?:for|as)\s+{other}\b(?!\()"
        rf"|^[ \t\"]*(?:[\w.\[\]]+\s*,\s*)*{other}\s*(?:,[^()\n]*|:[^=\n]*)=(?!=)"
        rf"|@[^\n]*\n\s*def\s+{said}\b|\b(?:setattr|update|__dict__|vars|register_\w+|add_module)\b[^\n]*\b{said}\b",
        re.M,
    )


def _classes(code: Code, whole: Parsed) -> dict[int, ast.ClassDef]:
    """The classes of a file by their numbers, but for those that something else may change."""
    numbers = {(one.at.end_line, one.at.end_column, one.name): number for number, one in enumerate(code.classes)}
    found = {}
    for node in whole.nodes:
        if isinstance(node, ast.ClassDef) and not node.decorator_list and not node.keywords:
            number = numbers.get((node.end_lineno or 0, node.end_col_offset or 0, node.name), NOWHERE)
            if number != NOWHERE:
                found[number] = node
    return found


def _said(node: ast.ClassDef) -> _Said:
    own, given, needing = list[ast.Attribute](), set[str](), set[int]()
    for one in node.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            given.add(one.name)
            for each in _in_method(one):
                if _is_of_self(each):
                    own.append(each)
                else:
                    needing |= _needing(each)
        else:
            given |= {each.id for each in ast.walk(one) if isinstance(each, ast.Name)}
            given |= {one.name} if isinstance(one, ast.ClassDef) else set()
    given |= {each.attr for each in own if isinstance(each.ctx, ast.Store) and id(each) not in needing}
    read = (one.attr for one in own if id(one) in needing or not isinstance(one.ctx, ast.Store))
    return _Said(tuple(own), frozenset(given), frozenset(read))


def _in_method(method: Scope) -> Iterator[ast.AST]:
    """What stands in a method; not what belongs to another `self` inside of it."""
    waiting: list[ast.AST] = list(method.body) if _first(method) == "self" else []
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.ClassDef) and not (isinstance(node, Scope) and _first(node) == "self"):
            waiting += ast.iter_child_nodes(node)


def _first(function: Scope) -> str:
    """The name of the first parameter."""
    return next((one.arg for one in (*function.args.posonlyargs, *function.args.args)), "")


def _is_of_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _needing(node: ast.AST) -> set[int]:
    """By `id`, an attribute that a statement sets and must have before: `self.bert = wrap(self.bert)`."""
    match node:
        case ast.Assign(targets=[ast.Attribute() as target]) if _is_of_self(target):
            asked = (one for one in evaluated(node) if one is not target and _is_of_self(one))
            return {id(target)} if any(one.attr == target.attr for one in asked) else set()
        case ast.AugAssign(target=ast.Attribute() as target):
            return {id(target)}
    return set()


def _handed(node: ast.ClassDef) -> list[ast.Call]:
    """Where methods hand over their own object, as to the method of a class that they do not inherit from."""
    calls = (one for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute))
    given = (one for one in calls if one.args and isinstance(one.args[0], ast.Name) and one.args[0].id == "self")
    return [one for one in given if ast.unparse(one.func) not in ("nn.Module.__init__", "torch.nn.Module.__init__")]


def _called(node: ast.ClassDef) -> frozenset[str]:
    """The methods that those of a class call of `self`."""
    calls = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return frozenset(one.attr for one in calls if _is_of_self(one))


def _set_by_others(whole: Parsed, own: set[int]) -> Iterator[str]:
    """What is assigned to any attribute but these, by `id`, or said in any text; and functions that something takes."""
    for node in whole.nodes:
        match node:
            case ast.Attribute(ctx=ast.Store()) if id(node) not in own:
                yield node.attr
            case ast.FunctionDef(name=name, decorator_list=[_, *_]):
                yield name  # `@add_to_class(Net)`
            case ast.Constant(value=str(text)) if text.isidentifier():
                yield text


def _bound(whole: Parsed) -> Iterator[str]:
    """What functions and classes are called, and what is bound in the bodies of classes."""
    for node in whole.nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.ClassDef():
                yield node.name
                plain = (one for one in node.body if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
                yield from (one.id for each in plain for one in ast.walk(each) if isinstance(one, ast.Name))
