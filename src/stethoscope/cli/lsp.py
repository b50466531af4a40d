"""`stethoscope lsp`: a language server, which an editor starts and talks to over standard input and output."""

from __future__ import annotations

import click


@click.command("lsp")
@click.option("--all", "possible", is_flag=True, help="Also show what is only possible.")
@click.option("--notes", is_flag=True, help="Also show what is only worth knowing.")
@click.option("--stdio", is_flag=True, help="Does nothing: some editors add it by themselves.")
def command(possible: bool, notes: bool, stdio: bool) -> int:
    """Review Python files and notebooks while they are edited: a language server for an editor to start.

    It needs the extra: pip install 'stethoscope[lsp]'
    """
    from stethoscope.adapters.language_server import serve

    serve(possible=possible, notes=notes)
    return 0
