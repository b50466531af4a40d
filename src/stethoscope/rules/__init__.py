"""The rules, found by walking the folder: nobody keeps a list of them."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache

from stethoscope.core.errors import InternalError, UsageError
from stethoscope.core.rule import Rule

_FEW = 3
"""Names that are suggested for an unknown one."""


@cache
def all_rules() -> tuple[type[Rule], ...]:
    """Every rule, by subject and name. Imports the rule files at the first call.

    Raises: InternalError for a file that does not hold exactly one rule.
    """
    return tuple(_rule_in(subject, name) for name, subject in subjects().items())


@cache
def rules_with(eye: str) -> tuple[type[Rule], ...]:
    """The rules that have this eye, by subject and name. The others are not imported: the text of a file tells.

    Raises: InternalError for a file that does not hold exactly one rule.
    """
    found = (_rule_in(subject, name) for name, subject in subjects().items() if _may_have(eye, subject, name))
    return tuple(rule for rule in found if eye in rule.eyes())


@cache
def subjects() -> Mapping[str, str]:
    """The name of every rule and its subject, by subject and name: those of its file and folder. Imports no rule."""
    folders = [one.name for one in pkgutil.iter_modules(__path__) if one.ispkg]
    packages = {subject: importlib.import_module(f"{__name__}.{subject}") for subject in folders}
    found = [
        (subject, file.name.replace("_", "-"))
        for subject, package in packages.items()
        for file in pkgutil.iter_modules(package.__path__)
    ]
    return {name: subject for subject, name in sorted(found)}


def rule_named(name: str) -> type[Rule]:
    """The rule of that name.

    Raises: UsageError that suggests the nearest names when there is none.
    """
    known = {rule.name: rule for rule in all_rules()}
    if name not in known:
        raise UsageError(f"there is no rule `{name}`{nearest(name, known)}")
    return known[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the few that it may have meant, and where all of them stand."""
    names = sorted(known)
    close = get_close_matches(name, names, n=_FEW, cutoff=0.6) or _sharing_a_word(name, names)
    meant = "; did you mean " + " or ".join(f"`{each}`" for each in close) + "?" if close else ";"
    return f"{meant} `stethoscope rules` lists all of them"


def _sharing_a_word(name: str, names: Sequence[str]) -> list[str]:
    """Those with most words of the name in them, and of these the ones with fewest others."""
    there = sorted({word for each in names for word in each.split("-")})
    said = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if len(word) > 2]
    words = {near for word in said for near in get_close_matches(word, there, n=1, cutoff=0.75)}
    shared = {each: len(words & set(each.split("-"))) for each in names}
    best = [each for each in sorted(shared, key=lambda each: (-shared[each], each.count("-"), each)) if shared[each]]
    return best[:_FEW]


def _may_have(eye: str, subject: str, name: str) -> bool:
    """Whether a rule may have an eye, as far as the text of its file tells: where no texts are installed, each may."""
    try:
        text = pkgutil.get_data(f"{__name__}.{subject}", f"{name.replace('-', '_')}.py")
    except OSError:
        return True
    return text is None or f"def {eye}(".encode() in text


def _rule_in(subject: str, name: str) -> type[Rule]:
    module_name = f"{__name__}.{subject}.{name.replace('-', '_')}"
    module = importlib.import_module(module_name)
    rules = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module_name
    ]
    if len(rules) != 1:
        raise InternalError(f"{module_name} holds {len(rules)} rules, one was expected")
    return rules[0]
