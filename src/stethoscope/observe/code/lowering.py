"""A syntax tree to the facts of a file, in one traversal. The bodies of functions come after what surrounds them."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from stethoscope.facts.code import (
    NOWHERE,
    At,
    Bare,
    Code,
    Constant,
    Defined,
    Group,
    Name,
    Operation,
    Parameter,
    Returned,
    Starred,
    Symbol,
    Unknown,
    Value,
)  # fmt: skip
from stethoscope.observe.code.drafts import ClassDraft, FunctionDraft
from stethoscope.observe.code.forms import _OPERATORS, Forms, _made, at_of
from stethoscope.observe.code.names import absolute, canonical
from stethoscope.observe.code.scopes import Meaning, Scope

_TOP = At(1, 0, 1, 0)


class Lowering(Forms):
    """Reads one file."""

    def __init__(self, module: str, *, is_package: bool = False, last_lines: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.package = module if is_package else module.rpartition(".")[0]
        self.last_lines = last_lines
        """Of a notebook: lines at which what stands last in a cell ends."""
        self.functions: list[FunctionDraft] = []
        self.classes: list[ClassDraft] = []
        self.bare: list[Bare] = []
        self.keys: list[Value] = []
        self.imports: list[tuple[str, int, tuple[str, ...]]] = []
        self.confusing: list[str] = []
        self.tried: dict[str, tuple[Meaning, Meaning]] = {}
        """What the block that only a script runs makes of a name, and what it meant before."""
        self.waiting: deque[tuple[ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef, int, Scope]] = deque()
        self.inside = 0
        """The function that is being read."""
        self.selves: dict[str, int] = {}
        """Name of the first parameter of the method that is being read, and its class."""

    def read(self, tree: ast.Module) -> None:
        """Everything that the file says."""
        self.functions.append(FunctionDraft("<module>", _TOP, 0, NOWHERE, returns=[]))
        self.enter("module", _TOP, owner=0)
        module = self.scope
        self.block(tree.body)
        self.functions[0].calls = (0, len(self.calls))
        self.functions[0].bindings = (0, len(self.bindings))
        while self.waiting:
            node, index, scope = self.waiting.popleft()
            try:
                self._body(node, index, scope)
            except RecursionError:
                self.confusing.append(f"{self.functions[index].name}() is nested too deeply")
        self.scope = module

    def code(self, file: str, module: str, lines: Sequence[str], cells: tuple[tuple[int, int], ...]) -> Code:
        """The facts."""
        return Code(
            file=file,
            module=module,
            lines=tuple(lines),
            cells=cells,
            calls=tuple(self.calls),
            bindings=tuple(self.bindings),
            contexts=tuple(self.contexts),
            functions=tuple(draft.finished() for draft in self.functions),
            classes=tuple(draft.finished() for draft in self.classes),
            bare=tuple(self.bare),
            keys=tuple(self.keys),
            names={name: self._exported(name, meaning) for name, meaning in self.scope.names.items()},
            stars=self.stars,
            imports=tuple(self.imports),
            confusing=tuple(self.confusing),
        )

    def _exported(self, name: str, meaning: Meaning) -> Meaning:
        tried, before = self.tried.get(name, (None, meaning))
        return before if tried == meaning else meaning

    # Statements

    def block(self, statements: Sequence[ast.stmt]) -> bool:
        """Reads statements in order; returns whether what stands behind them is never reached."""
        leaves = False
        for statement in statements:
            read = _STATEMENTS.get(type(statement))
            if read is None:
                continue
            try:
                leaves = bool(read(self, statement)) or leaves
            except RecursionError:
                self.confusing.append(f"line {statement.lineno} is nested too deeply")
        return leaves

    def _leave(self, node: ast.Raise | ast.Continue | ast.Break) -> bool:
        if isinstance(node, ast.Raise) and node.exc is not None:
            self.value(node.exc)
        return True

    def _return(self, node: ast.Return) -> bool:
        value = Constant(None, at_of(node)) if node.value is None else self.value(node.value)
        returns = self.functions[self.inside].returns
        if returns is not None:
            returns.append(Returned(value, self.context, len(self.calls)))
        return True

    def _expression(self, node: ast.Expr) -> None:
        if type(node.value) is ast.Constant:
            return  # a docstring
        value = self.value(node.value)
        self.bare.append(Bare(value, self.context, node.end_lineno in self.last_lines and self.inside == 0))

    def _assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.targets(target, value, "assign")

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.targets(node.target, self.value(node.value), "assign")

    def _augmented(self, node: ast.AugAssign) -> None:
        at = at_of(node)
        before = self.value(node.target)
        value = Operation(_OPERATORS[type(node.op)], (before, self.value(node.value)), at)
        path = _path(node.target)
        if not path and isinstance(node.target, ast.Subscript) and (base := _path(node.target.value)):
            path = f"{base}[]"
        if path:
            self._bind_path(path, "augment", value, at_of(node.target), ())

    def targets(self, node: ast.AST, value: Value, how: str, item: tuple[int, ...] = ()) -> None:
        """Binds the names of an assignment's target."""
        path = _path(node)
        if path:
            self._bind_path(path, how, value, at_of(node), item)
        elif isinstance(node, ast.Tuple | ast.List):
            star = next((i for i, one in enumerate(node.elts) if isinstance(one, ast.Starred)), len(node.elts))
            direct = (
                how == "assign" and isinstance(value, Group) and len(value.items) == len(node.elts) == star
                and not any(isinstance(one, Starred) for one in value.items)
            )  # fmt: skip
            for index, one in enumerate(node.elts):
                if direct and isinstance(value, Group):
                    self.targets(one, value.items[index], how)
                elif index < star:
                    self.targets(one, value, how, (*item, index))
                elif index == star:
                    self.targets(one, value, how, item)  # everything between
                else:
                    self.targets(one, value, how, (*item, index - len(node.elts)))
        elif isinstance(node, ast.Starred):
            self.targets(node.value, Unknown("unpacked", at_of(node)), "assign")
        elif isinstance(node, ast.Subscript | ast.Attribute):
            self.value(node.value)
            if isinstance(node, ast.Subscript):
                self.keys.append(self.value(node.slice))
                if base := _path(node.value):
                    # What the container held is no longer all that it holds.
                    self._bind_path(f"{base}[]", how, value, at_of(node), item)
                elif isinstance(node.value, ast.Subscript) and (base := _path(node.value.value)):
                    self._bind_path(f"{base}[][]", how, value, at_of(node), item)

    def _bind_path(self, path: str, how: str, value: Value, at: At, item: tuple[int, ...]) -> None:
        number = self.bind(path, how, value, at, item)
        first, _, rest = path.partition(".")
        if rest and first in self.selves and "." not in rest:
            self.classes[self.selves[first]].attributes.setdefault(rest, []).append(number)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if path := _path(target):
                self.bind(path, "delete", None, at_of(target))

    def _global(self, node: ast.Global | ast.Nonlocal) -> None:
        for name in node.names:
            self.scope.outer[name] = isinstance(node, ast.Global)

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imports.append((alias.name, 0, ()))
            if alias.asname:
                self.scope.bind(alias.asname, canonical(alias.name))
            else:
                first = alias.name.split(".")[0]
                self.scope.bind(first, canonical(first))

    def _import_from(self, node: ast.ImportFrom) -> None:
        module = absolute(node.module, node.level, self.package)
        self.imports.append((node.module or "", node.level, tuple(alias.name for alias in node.names)))
        for alias in node.names:
            if alias.name == "*":
                self.stars = (*self.stars, canonical(module))
            else:
                self.scope.bind(
                    alias.asname or alias.name, canonical(f"{module}.{alias.name}" if module else alias.name)
                )

    def _if(self, node: ast.If) -> bool:
        if _is_main(node.test):
            return self._try_out(node)
        if isinstance(node.test, ast.Constant):  # what is switched off by `if False:` never runs
            return self.block(node.body if node.test.value else node.orelse)
        test = self.value(node.test)
        at = at_of(node)
        scope = self.scope
        before = scope.names
        scope.names = dict(before)
        outer = self.enter("if", at, test)
        first_leaves = self.block(node.body)
        self.context = outer
        first = scope.names
        scope.names = dict(before) if node.orelse else before
        second_leaves = False
        if node.orelse:
            outer = self.enter("else", at, test)
            second_leaves = self.block(node.orelse)
            self.context = outer
        if first_leaves:
            return second_leaves
        if second_leaves:
            scope.names = first
        else:
            scope.meet(scope.names, first, self.merge)
        return False

    def _try_out(self, node: ast.If) -> bool:
        """Who imports the file gets what its names meant before: `Net = Net()` to try it out is nobody else's."""
        before = dict(self.scope.names)
        leaves = self.block(node.body)
        after = self.scope.names
        self.tried |= {name: (after[name], old) for name, old in before.items() if after.get(name, old) != old}
        return leaves

    def _for(self, node: ast.For | ast.AsyncFor) -> bool:
        iterated = self.value(node.iter)
        # What leaves at the end of its first round is no loop: `for batch in loader: ...; break`.
        is_left = isinstance(node.body[-1], ast.Break)
        outer = self.enter("once" if is_left else "for", at_of(node), iterated)
        self.targets(node.target, iterated, "for")
        self.block(node.body)
        self.context = outer
        return self.block(node.orelse) and False

    def _while(self, node: ast.While) -> bool:
        outer = self.enter("while", at_of(node), None)
        test = self.value(node.test)
        self.contexts[self.context] = self.contexts[self.context]._replace(value=test)
        leaves = self.block(node.body)
        self.context = outer
        self.block(node.orelse)
        endless = isinstance(test, Constant) and bool(test.value)
        return endless and leaves

    def _with(self, node: ast.With | ast.AsyncWith) -> bool:
        outer = self.context
        for item in node.items:
            value = self.value(item.context_expr)
            self.enter("with", at_of(node), value)
            if item.optional_vars is not None:
                self.targets(item.optional_vars, value, "with")
        leaves = self.block(node.body)
        self.context = outer
        return leaves

    def _try(self, node: ast.Try) -> bool:
        scope, at = self.scope, at_of(node)
        before = dict(scope.names)
        outer = self.enter("try", at)
        leaves = self.block(node.body)
        self.context = outer
        after = scope.names
        for handler in node.handlers:
            scope.names = dict(before)
            self.enter("except", at_of(handler))
            if handler.name:
                self.bind(handler.name, "except", None, at_of(handler))
            handler_leaves = self.block(handler.body)
            self.context = outer
            if handler_leaves:
                continue
            if leaves:
                after, leaves = scope.names, False
            else:
                scope.meet(after, scope.names, self.merge)
                after = scope.names
        scope.names = after
        if node.orelse:
            self.enter("try", at)
            leaves = self.block(node.orelse) or leaves
            self.context = outer
        if node.finalbody:
            self.enter("finally", at)
            leaves = self.block(node.finalbody) or leaves
            self.context = outer
        return leaves

    def _match(self, node: ast.Match) -> None:
        subject = self.value(node.subject)
        scope, at = self.scope, at_of(node)
        before = scope.names
        for case in node.cases:
            scope.names = dict(before)
            outer = self.enter("if", at, subject)
            self.block(case.body)
            self.context = outer
            scope.meet(before, scope.names, self.merge)
            before = scope.names

    def _assert(self, node: ast.Assert) -> None:
        self.value(node.test)

    def _class(self, node: ast.ClassDef) -> None:
        at = at_of(node)
        bases = tuple(self.value(base) for base in node.bases)
        index = len(self.classes)
        draft = ClassDraft(node.name, at, 0, bases, {}, {})
        self.classes.append(draft)
        outer_scope = self.scope
        outer = self.enter("class", at, owner=index)
        draft.context = self.context
        self.scope = Scope(outer_scope, is_class=True)
        self.block(node.body)
        for name, meaning in self.scope.names.items():
            if isinstance(meaning, int) and "." not in name:
                binding = self.bindings[meaning]
                if binding.how == "define" and isinstance(binding.value, Defined) and binding.value.kind == "function":
                    draft.methods[name] = binding.value.number
                    self.functions[binding.value.number].owner = index
                else:
                    draft.attributes.setdefault(name, []).append(meaning)
        self.scope = outer_scope
        self.context = outer
        self.bind(node.name, "define", Defined("class", index, at), at)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.bind(node.name, "define", self.function(node), at_of(node))

    # Functions

    def function(self, node: ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef) -> Value:
        """A function: what stands in its first line is read now, its body later."""
        at = at_of(node)
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        listed = [] if isinstance(node, ast.Lambda) else node.decorator_list
        decorators = tuple(self.value(one) for one in listed)
        defaults = self._defaults(node.args)
        index = len(self.functions)
        outer = self.enter("function", at, owner=index)
        draft = FunctionDraft(name, at, self.context, NOWHERE, decorators=decorators, returns=[])
        draft.parameters = tuple(
            _made(Parameter, (argument.arg, self._annotation(argument.annotation), default, NOWHERE))
            for argument, default in defaults
        )
        self.context = outer
        self.functions.append(draft)
        self.waiting.append((node, index, self.scope))
        return Defined("function", index, at)

    def _defaults(self, arguments: ast.arguments) -> list[tuple[ast.arg, Value | None]]:
        """The parameters, each with its default."""
        plain = [*arguments.posonlyargs, *arguments.args]
        missing = len(plain) - len(arguments.defaults)
        values: list[Value | None] = [None] * missing + [self.value(one) for one in arguments.defaults]
        keyword_only = [self.optional(one) for one in arguments.kw_defaults]
        return [*zip(plain, values, strict=True), *zip(arguments.kwonlyargs, keyword_only, strict=True)]

    def _annotation(self, node: ast.AST | None) -> str:
        """The full name of a type; of `Optional[X]` and `X | None` that of X."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
            node = _quoted(node.value)
        if isinstance(node, ast.BinOp):
            return self._annotation(node.left)
        if isinstance(node, ast.Subscript):
            if isinstance(node.value, ast.Name) and node.value.id == "Optional":
                return self._annotation(node.slice)
            node = node.value
        if node is None or type(node) not in (ast.Name, ast.Attribute):
            return ""
        value = self.value(node)
        return value.name if isinstance(value, (Symbol, Name)) else ""

    def _body(
        self, node: ast.Lambda | ast.FunctionDef | ast.AsyncFunctionDef, index: int, parent: Scope
    ) -> None:  # fmt: skip
        draft = self.functions[index]
        self.inside, self.context, self.scope = index, draft.context, Scope(parent)
        calls, bindings = len(self.calls), len(self.bindings)
        parameters = []
        for parameter in draft.parameters:
            number = self.bind(parameter.name, "argument", parameter.default, draft.at)
            parameters.append(_made(Parameter, (*parameter[:3], number)))
        draft.parameters = tuple(parameters)
        for extra in (node.args.vararg, node.args.kwarg):
            if extra is not None:
                self.bind(extra.arg, "argument", Unknown("all other arguments", at_of(extra)), at_of(extra))
        static = any(isinstance(one, Symbol) and one.name == "builtins.staticmethod" for one in draft.decorators)
        if draft.owner != NOWHERE and not static:
            self.selves = {parameters[0].name: draft.owner} if parameters else {}
        elif not isinstance(node, ast.Lambda) and draft.owner == NOWHERE and not self._within_method(draft.context):
            self.selves = {}
        if isinstance(node, ast.Lambda):
            if draft.returns is not None:
                value = self.value(node.body)
                draft.returns.append(Returned(value, self.context, len(self.calls)))
        else:
            self.block(node.body)
        draft.calls = (calls, len(self.calls))
        draft.bindings = (bindings, len(self.bindings))

    def _within_method(self, context: int) -> bool:
        """Whether a function is inside of a method, whose `self` it may use."""
        self.selves = {}
        number = self.contexts[context].parent
        while number != NOWHERE:
            here = self.contexts[number]
            if here.kind == "function" and (method := self.functions[here.owner]).owner != NOWHERE:
                if method.parameters:
                    self.selves = {method.parameters[0].name: method.owner}
                return True
            number = here.parent
        return False


@lru_cache(maxsize=2_000)
def _quoted(annotation: str) -> ast.expr | None:
    """The expression of a type in quotation marks, of which a file has the same few; None where it is none."""
    try:
        return ast.parse(annotation, mode="eval").body
    except (SyntaxError, ValueError):
        return None


def _path(node: ast.AST) -> str:
    """`self.hidden.weight` as text; empty for anything else."""
    names = []
    while type(node) is ast.Attribute:
        names.append(node.attr)
        node = node.value
    if type(node) is not ast.Name:
        return ""
    return ".".join([node.id, *reversed(names)]) if names else node.id


def _is_main(test: ast.AST) -> bool:
    """Whether a condition is `__name__ == "__main__"`."""
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


_STATEMENTS: dict[type[ast.stmt], Callable[[Lowering, Any], bool | None]] = {
    ast.Expr: Lowering._expression,
    ast.Assign: Lowering._assign,
    ast.AnnAssign: Lowering._annotated,
    ast.AugAssign: Lowering._augmented,
    ast.Return: Lowering._return,
    ast.If: Lowering._if,
    ast.For: Lowering._for,
    ast.AsyncFor: Lowering._for,
    ast.While: Lowering._while,
    ast.With: Lowering._with,
    ast.AsyncWith: Lowering._with,
    ast.Try: Lowering._try,
    ast.TryStar: Lowering._try,
    ast.Match: Lowering._match,
    ast.Raise: Lowering._leave,
    ast.Continue: Lowering._leave,
    ast.Break: Lowering._leave,
    ast.Assert: Lowering._assert,
    ast.Delete: Lowering._delete,
    ast.Global: Lowering._global,
    ast.Nonlocal: Lowering._global,
    ast.Import: Lowering._import,
    ast.ImportFrom: Lowering._import_from,
    ast.FunctionDef: Lowering._define,
    ast.AsyncFunctionDef: Lowering._define,
    ast.ClassDef: Lowering._class,
}  # `Any`: each takes the statement that it is entered for
