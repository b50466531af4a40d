"""Functions and classes while they are being read."""

from __future__ import annotations

from dataclasses import dataclass

from stethoscope.facts.code import At, Class, Function, Parameter, Returned, Value


@dataclass
class FunctionDraft:
    """A function while it is being read."""

    name: str
    at: At
    context: int
    owner: int
    parameters: tuple[Parameter, ...] = ()
    decorators: tuple[Value, ...] = ()
    returns: list[Returned] | None = None
    calls: tuple[int, int] = (0, 0)
    bindings: tuple[int, int] = (0, 0)

    def finished(self) -> Function:
        return Function(
            self.name, self.at, self.context, self.owner, self.parameters, self.decorators,
            tuple(self.returns or ()), self.calls, self.bindings,
        )  # fmt: skip


@dataclass
class ClassDraft:
    """A class while it is being read."""

    name: str
    at: At
    context: int
    bases: tuple[Value, ...]
    methods: dict[str, int]
    attributes: dict[str, list[int]]

    def finished(self) -> Class:
        attributes = {name: tuple(numbers) for name, numbers in self.attributes.items()}
        return Class(self.name, self.at, self.context, self.bases, self.methods, attributes)
