"""Findings about what learned from data that it should not have seen: the words that several rules share."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from stethoscope.core.finding import Evidence, Link
from stethoscope.facts.code import Call, Code
from stethoscope.facts.splits import Fit, fitted_in, holds_all_rows, splits_of
from stethoscope.rules.lines import line_of, place_in


def before_splits(file: Code, names: Collection[str]) -> Iterator[tuple[Fit, Call]]:
    """What of these classes learned from all rows, each with the split that came after; each once."""
    told = set()
    for split in splits_of(file):
        for data in split.call.arguments:
            for fit in fitted_in(file, data, split.call.number):
                if fit.name in names and fit.call.number not in told and holds_all_rows(file, fit.data):
                    told.add(fit.call.number)
                    yield fit, split.call


def first_and_then(file: Code, fit: Call, does: str, later: Call, then: str) -> tuple[Link, ...]:
    """Two lines in the order in which they run."""
    return Link(place_in(file, fit.at), does), Link(place_in(file, later.at), then)


def seen_by(file: Code, fit: Call, what: str, healthy: str) -> Evidence:
    """What something learned from, as evidence."""
    return Evidence(f"what `{what}` on {line_of(file, fit.at)} learns from", "all rows: 100 %", healthy)
