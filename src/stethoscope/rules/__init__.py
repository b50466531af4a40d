"""The rules, found by walking the folder: nobody keeps a list of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache

from stethoscope.core.errors import InternalError, UsageError
from stethoscope.core.rule import Rule


@cache
def all_rules() -> tuple[type[Rule], ...]:
    """Every rule, by subject and name. Imports the rule files at the first call.

    Raises: InternalError for a file that does not hold exactly one rule.
    """
    found = []
    for subject in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        if subject.ispkg:
            package = importlib.import_module(subject.name)
            for file in pkgutil.iter_modules(package.__path__, prefix=f"{subject.name}."):
                found.append(_rule_in(file.name))
    return tuple(sorted(found, key=lambda rule: (rule.subject, rule.name)))


def rule_named(name: str) -> type[Rule]:
    """The rule of that name.

    Raises: UsageError that suggests the nearest names when there is none.
    """
    known = {rule.name: rule for rule in all_rules()}
    if name not in known:
        raise UsageError(f"there is no rule `{name}`{nearest(name, known)}")
    return known[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what it may have meant, or all that there is."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(f"`{each}`" for each in close) + "?"
    return "; known: " + ", ".join(names) if names else ""


def _rule_in(module_name: str) -> type[Rule]:
    module = importlib.import_module(module_name)
    rules = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module_name
    ]
    if len(rules) != 1:
        raise InternalError(f"{module_name} holds {len(rules)} rules, one was expected")
    return rules[0]
