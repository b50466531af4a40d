"""Which rules run, with which limits, and what they need to see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from stethoscope.core.errors import UsageError
from stethoscope.core.rule import Rule
from stethoscope.facts.training import PARTS
from stethoscope.rules import all_rules, nearest, rules_with, subjects

Overrides = dict[str, dict[str, float]]
"""Rule name to limit name to value."""


def select(
    only: Iterable[str] = (), without: Iterable[str] = (), rules: Sequence[type[Rule]] | None = None
) -> tuple[type[Rule], ...]:
    """The rules to run.

    Args:
        only: names of rules or subjects; all rules when empty.
        without: names of rules or subjects to leave out.
        rules: what to choose from; every rule when None.

    Raises: UsageError for a name that is neither a rule nor a subject.
    """
    known = all_rules() if rules is None else tuple(rules)
    wanted, unwanted = set(only), set(without)
    _check_names(wanted | unwanted, {rule.name for rule in known} | {rule.subject for rule in known})
    return _chosen(known, wanted, unwanted)


def select_with(eye: str, only: Iterable[str] = (), without: Iterable[str] = ()) -> tuple[type[Rule], ...]:
    """Those of the rules to run that have this eye. No other is imported, which is half of what it takes to begin.

    Raises: UsageError for a name that is neither a rule nor a subject.
    """
    wanted, unwanted = set(only), set(without)
    _check_names(wanted | unwanted, {*subjects(), *subjects().values()})
    return _chosen(rules_with(eye), wanted, unwanted)


def _check_names(names: Set[str], known: Set[str]) -> None:
    for name in sorted(names - known):
        raise UsageError(f"`{name}` is neither a rule nor a subject{nearest(name, known)}")


def _chosen(rules: Iterable[type[Rule]], wanted: Set[str], unwanted: Set[str]) -> tuple[type[Rule], ...]:
    return tuple(
        rule
        for rule in rules
        if (not wanted or wanted & {rule.name, rule.subject}) and not unwanted & {rule.name, rule.subject}
    )


def needed_parts(rules: Iterable[type[Rule]]) -> tuple[str, ...]:
    """The parts of a history that these rules read, in the order of `PARTS`."""
    read = {part for rule in rules for part in rule.reads}
    return tuple(part for part in PARTS if part in read)


def read_limits(settings: Mapping[str, object], rules: Sequence[type[Rule]] | None = None) -> Overrides:
    """The limits of a configuration, checked.

    Args:
        settings: `{"rule-name.limit_name": 0.5}`, or a table for each rule,
            `{"rule-name": {"limit_name": 0.5}}`.

    Raises: UsageError for an unknown rule or limit, listing the known ones, or a value that is no number.
    """
    limits: Overrides = {}
    for key, value in settings.items():
        rule, _, limit = key.partition(".")
        entries = value if isinstance(value, Mapping) else {limit: value}
        for name, number in entries.items():
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise UsageError(f"limit `{rule}.{name}` should be a number, not {number!r}")
            limits.setdefault(rule, {})[str(name)] = float(number)
    if limits:
        check_limits(limits, all_rules() if rules is None else rules)
    return limits


def check_limits(limits: Mapping[str, Mapping[str, float]], rules: Sequence[type[Rule]]) -> None:
    """Raises: UsageError when a rule or one of its limits does not exist."""
    if not limits:
        return
    known = {rule.name: rule.limits() for rule in rules}
    for rule, values in limits.items():
        if rule not in known:
            raise UsageError(f"limits are set for `{rule}`, which is no rule{nearest(rule, known)}")
        for limit in values:
            if limit not in known[rule]:
                there = ", ".join(f"`{rule}.{name}`" for name in known[rule]) or "none"
                raise UsageError(f"`{rule}` has no limit `{limit}`; its limits: {there}")
