"""Expressions to forms: each call gets its full name, each variable the number of its binding."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Attribute,
    Binding,
    Call,
    Choice,
    Constant,
    Context,
    Each,
    Group,
    Item,
    Name,
    Operation,
    Starred,
    Symbol,
    Unknown,
    Value,
)  # fmt: skip
from stethoscope.observe.code.names import BUILTINS, canonical, from_star
from stethoscope.observe.code.scopes import Meaning, Scope

_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
    ast.USub: "-", ast.UAdd: "+", ast.Not: "not", ast.Invert: "~",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in", ast.And: "and", ast.Or: "or",
}  # fmt: skip

_made = tuple.__new__
"""Makes a named tuple without the call in between: there are millions of them, and it is half of what one takes."""


class Forms:
    """Turns expressions into forms, and keeps the tables that they refer to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.bindings: list[Binding] = []
        self.contexts: list[Context] = []
        self.stars: tuple[str, ...] = ()
        self.says_torch = False
        self.scope = Scope(None)
        self.context = 0

    # Tables

    def enter(self, kind: str, at: At, value: Value | None = None, owner: int = NOWHERE) -> int:
        """A new context inside of this one; returns the one to go back to."""
        before = self.context
        self.contexts.append(_made(Context, (kind, before if self.contexts else NOWHERE, at, value, owner)))
        self.context = len(self.contexts) - 1
        return before

    def bind(
        self, name: str, how: str, value: Value | None, at: At, item: tuple[int, ...] = ()
    ) -> int:  # fmt: skip
        """A new binding, in force from here on."""
        known = self.scope.names.get(name)
        before = known if type(known) is int else NOWHERE
        number = len(self.bindings)
        self.bindings.append(_made(Binding, (name, how, value, item, (), at, self.context, len(self.calls), before)))
        self.scope.bind(name, number)
        return number

    def merge(self, name: str, options: tuple[int, ...]) -> int:
        """The binding of a name where several paths meet; it is not bound in the scope yet."""
        flat: list[int] = []
        for option in options:
            binding = self.bindings[option]
            flat += binding.options if binding.how == "merge" else (option,)
        unique = tuple(dict.fromkeys(flat))
        last = self.bindings[unique[-1]]
        self.bindings.append(
            Binding(name, "merge", None, (), unique, last.at, self.context, len(self.calls), NOWHERE)
        )  # fmt: skip
        return len(self.bindings) - 1

    # Expressions

    def value(self, node: ast.AST) -> Value:
        """The form of an expression."""
        lower = _FORMS.get(type(node))
        return Unknown(type(node).__name__.lower(), at_of(node)) if lower is None else lower(self, node)

    def optional(self, node: ast.AST | None) -> Value | None:
        """The form of an expression that may be left out."""
        return None if node is None else self.value(node)

    def meaning(self, name: str) -> Meaning:
        """What a plain name means: the number of its binding, or its full name; NOWHERE where nobody knows it."""
        found = self.scope.names.get(name)
        if found is None:
            found = self.scope.find_outside(name, self.merge)
        return found if found is not None else self._unbound(name) or NOWHERE

    def _unbound(self, name: str) -> str:
        """The full name of what nothing in the file defines; empty where nobody knows it."""
        if name in BUILTINS:
            return f"builtins.{name}"
        return from_star(name, self.stars, says_torch=self.says_torch) if self.stars else ""

    def _constant(self, node: ast.Constant) -> Value:
        return _made(Constant, (node.value, at_of(node)))

    def _name(self, node: ast.Name) -> Value:
        return _named(node, self.meaning(node.id))

    def _attribute(self, node: ast.Attribute) -> Value:
        names = [node.attr]
        base: ast.AST = node.value
        while type(base) is ast.Attribute:
            names.append(base.attr)
            base = base.value
        if type(base) is ast.Name:
            if base.id in self.scope.dotted:
                path = ".".join([base.id, *reversed(names)])
                found = self.scope.names.get(path)
                if isinstance(found, int):
                    return _made(Name, (path, found, at_of(node)))
            else:
                meaning = self.meaning(base.id)
                if type(meaning) is str:
                    names.append(meaning)
                    return _made(Symbol, (canonical(".".join(reversed(names))), at_of(node)))
                if base is node.value:
                    return _made(Attribute, (_named(base, meaning), node.attr, at_of(node)))
        value = self.value(node.value)
        if type(value) is Symbol:
            return _made(Symbol, (canonical(f"{value.name}.{node.attr}"), at_of(node)))
        return _made(Attribute, (value, node.attr, at_of(node)))

    def _call(self, node: ast.Call) -> Value:
        target = self.value(node.func)
        name, receiver = "()", None
        if type(target) is Symbol:
            name = canonical(target.name)
        elif type(target) is Attribute:
            name, receiver = "." + target.name, target.value
        else:
            receiver = target
        arguments = tuple([self.value(argument) for argument in node.args]) if node.args else ()
        keywords = tuple([(one.arg or "", self.value(one.value)) for one in node.keywords]) if node.keywords else ()
        call = _made(Call, (name, receiver, arguments, keywords, at_of(node), self.context, len(self.calls)))
        self.calls.append(call)
        return call

    def _subscript(self, node: ast.Subscript) -> Value:
        return _made(Item, (self.value(node.value), self.value(node.slice), at_of(node)))

    def _binary(self, node: ast.BinOp) -> Value:
        operands = self.value(node.left), self.value(node.right)
        return _made(Operation, (_OPERATORS[type(node.op)], operands, at_of(node)))

    def _unary(self, node: ast.UnaryOp) -> Value:
        operand = self.value(node.operand)
        if type(operand) is Constant and type(node.op) is ast.USub and isinstance(operand.value, int | float):
            return _made(Constant, (-operand.value, at_of(node)))
        return _made(Operation, (_OPERATORS[type(node.op)], (operand,), at_of(node)))

    def _compare(self, node: ast.Compare) -> Value:
        operator = _OPERATORS[type(node.ops[0])] if len(node.ops) == 1 else "chain"
        operands = tuple([self.value(one) for one in (node.left, *node.comparators)])
        return _made(Operation, (operator, operands, at_of(node)))

    def _boolean(self, node: ast.BoolOp) -> Value:
        values = tuple([self.value(one) for one in node.values])
        if type(node.op) is ast.Or:
            return Choice(None, values, at_of(node))
        return _made(Operation, ("and", values, at_of(node)))

    def _choice(self, node: ast.IfExp) -> Value:
        return Choice(self.value(node.test), (self.value(node.body), self.value(node.orelse)), at_of(node))

    def _group(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        kind = type(node).__name__.lower()
        return _made(Group, (kind, tuple([self.value(item) for item in node.elts]), (), at_of(node)))

    def _dict(self, node: ast.Dict) -> Value:
        keys = tuple([self.optional(key) for key in node.keys])
        return _made(Group, ("dict", tuple([self.value(item) for item in node.values]), keys, at_of(node)))

    def _slice(self, node: ast.Slice) -> Value:
        at = at_of(node)
        parts = (node.lower, node.upper, node.step)
        return Operation(":", tuple([Constant(None, at) if one is None else self.value(one) for one in parts]), at)

    def _starred(self, node: ast.Starred) -> Value:
        return Starred(self.value(node.value), at_of(node))

    def _await(self, node: ast.Await) -> Value:
        return Operation("await", (self.value(node.value),), at_of(node))

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> Value:
        if node.value is not None:
            self.value(node.value)
        return Unknown("what a generator is sent", at_of(node))

    def _formatted(self, node: ast.JoinedStr) -> Value:
        parts = [self.value(one.value) for one in node.values if isinstance(one, ast.FormattedValue)]
        return Operation("f", tuple(parts), at_of(node))

    def _walrus(self, node: ast.NamedExpr) -> Value:
        value = self.value(node.value)
        self.bind(node.target.id, "assign", value, at_of(node.target))
        return Name(node.target.id, len(self.bindings) - 1, at_of(node))

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
        outer, scope = self.context, self.scope
        names = dict(scope.names)
        at = at_of(node)
        source: Value | None = None
        for generator in node.generators:
            iterated = self.value(generator.iter)
            source = iterated if source is None else source
            self.enter("comprehension", at, iterated)
            self.targets(generator.target, iterated, "for")
            for condition in generator.ifs:
                self.value(condition)
        if isinstance(node, ast.DictComp):
            self.value(node.key)
            element = self.value(node.value)
        else:
            element = self.value(node.elt)
        self.context = outer
        # Its variables are its own; what `:=` binds inside is rare enough to lose.
        scope.names = names
        kind = _KINDS[type(node)]
        return Each(kind, element, source or Unknown("comprehension", at), at)

    def _lambda(self, node: ast.Lambda) -> Value:
        return self.function(node)

    # Filled in by the statements

    def targets(self, node: ast.AST, value: Value, how: str, item: tuple[int, ...] = ()) -> None:
        """Binds the names of an assignment's target."""
        raise NotImplementedError

    def function(self, node: ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef) -> Value:
        """A function whose body is read later."""
        raise NotImplementedError


_KINDS: dict[type[ast.AST], str] = {
    ast.ListComp: "list", ast.SetComp: "set", ast.DictComp: "dict", ast.GeneratorExp: "generator",
}  # fmt: skip
_FORMS: dict[type[ast.AST], Callable[[Forms, Any], Value]] = {
    ast.Constant: Forms._constant,
    ast.Name: Forms._name,
    ast.Attribute: Forms._attribute,
    ast.Call: Forms._call,
    ast.Subscript: Forms._subscript,
    ast.BinOp: Forms._binary,
    ast.UnaryOp: Forms._unary,
    ast.Compare: Forms._compare,
    ast.BoolOp: Forms._boolean,
    ast.IfExp: Forms._choice,
    ast.Tuple: Forms._group,
    ast.List: Forms._group,
    ast.Set: Forms._group,
    ast.Dict: Forms._dict,
    ast.Slice: Forms._slice,
    ast.Starred: Forms._starred,
    ast.Await: Forms._await,
    ast.Yield: Forms._yield,
    ast.YieldFrom: Forms._yield,
    ast.JoinedStr: Forms._formatted,
    ast.NamedExpr: Forms._walrus,
    ast.ListComp: Forms._comprehension,
    ast.SetComp: Forms._comprehension,
    ast.DictComp: Forms._comprehension,
    ast.GeneratorExp: Forms._comprehension,
    ast.Lambda: Forms._lambda,
}  # `Any`: each takes the node that it is entered for


def _named(node: ast.Name, meaning: Meaning) -> Value:
    """The form of a plain name that means this."""
    if type(meaning) is int:
        return _made(Name, (node.id, meaning, at_of(node)))
    return _made(Symbol, (meaning, at_of(node)))


def at_of(node: Any) -> At:
    """Where a node stands. `Any`: not every kind of node has a place, those that come here do."""
    return _made(At, (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset))
