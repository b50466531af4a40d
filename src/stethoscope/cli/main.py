"""The command `stethoscope`: finds the verb, and turns our own errors into one sentence."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

import click

from stethoscope.core.collecting import without_collecting
from stethoscope.core.errors import StethoscopeError

VERBS = (
    "run", "check", "lint", "lsp", "data", "runs", "tag", "compare", "rerun", "diagnose", "prove", "report", "import",
    "rules", "explain", "mcp",
)  # fmt: skip
FILES = {"import": "importing"}
"""Verbs whose file cannot be named like them."""


class _Verbs(click.Group):
    """Loads a verb's file when the verb is used: `--help` and `rules` need no more than themselves."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        with without_collecting():
            module: Any = importlib.import_module(f"stethoscope.cli.{FILES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stethoscope", prog_name="stethoscope")
@click.option("--debug", is_flag=True, help="Show the traceback of an error of ours.")
def cli(debug: bool) -> None:
    """Listen to a neural network while it trains: what is wrong, where, why, and what to change.

    \b
        stethoscope run train.py --epochs 3      your script, unmodified
        stethoscope check train.py               its model, before it trains
        stethoscope lint .                       its source, without running it
        stethoscope data train.csv               what it learns from
        stethoscope explain missing-zero-grad    what a rule means
    """


def main() -> None:
    """Entry point: exit codes are 0 for nothing to report, 1 for findings, 2 for wrong use."""
    debug = "--debug" in sys.argv[1:2]
    try:
        # A verb returns an exit code, or an action that has to run outside of click: click would turn the Ctrl-C
        # and the exit of a user's script into its own.
        result = cli.main(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except StethoscopeError as error:
        _say(error, debug)
        sys.exit(2)
    if not callable(result):
        if "duckdb" not in sys.modules:  # which tells the user of each object that is still there at the end
            gc.freeze()  # nothing of the user's has run: Python need not look three times for circles in order to end
    else:
        try:
            result = result()
        except StethoscopeError as error:
            _say(error, debug)
            sys.exit(2)
    sys.exit(result if isinstance(result, int) else 0)


def _say(error: StethoscopeError, debug: bool) -> None:
    if debug:
        raise error
    print(f"stethoscope: {error}", file=sys.stderr)
