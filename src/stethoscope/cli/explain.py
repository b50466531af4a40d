"""`stethoscope explain`: what a rule sees, why that hurts, and what to do."""

from __future__ import annotations

import click

from stethoscope.render.rule_page import plain
from stethoscope.rules import rule_named


@click.command("explain")
@click.argument("rule")
def command(rule: str) -> int:
    """Show the page of a rule."""
    name, _, rest = plain(rule_named(rule.strip("`"))).partition(" ")
    click.echo(click.style(name, bold=True) + " " + rest, nl=False)
    return 0
