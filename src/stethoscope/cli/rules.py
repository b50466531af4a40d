"""`stethoscope rules`: the catalogue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from stethoscope.cli.writing import write_json
from stethoscope.core.rule import Rule
from stethoscope.render.rule_page import seen_by, summary
from stethoscope.render.tables import Column, print_table
from stethoscope.rules import all_rules

COLUMNS = (Column("rule", whole=True), Column("severity", whole=True), Column("what is wrong"))


@click.command("rules")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write it here; - is stdout.")
def command(json_file: Path | None) -> int:
    """List the rules, by subject."""
    if json_file is not None:
        write_json({"schema": 1, "rules": [_entry(rule) for rule in all_rules()]}, json_file)
        if str(json_file) == "-":
            return 0
    rows = [[rule.name, rule.severity.value, summary(rule)] for rule in all_rules()]
    print_table(COLUMNS, rows, sys.stdout)
    return 0


def _entry(rule: type[Rule]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "subject": rule.subject,
        "kind": rule.kind.value,
        "severity": rule.severity.value,
        "summary": summary(rule),
        "seen": seen_by(rule),
        "explains": list(rule.explains),
        "reads": list(rule.reads),
        "limits": {
            name: {"value": limit.value, "unit": limit.unit, "why": limit.why} for name, limit in rule.limits().items()
        },
    }
