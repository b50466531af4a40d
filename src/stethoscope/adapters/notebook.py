"""`%load_ext stethoscope`: listens to the cells that begin with `%%stethoscope`."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stethoscope import api
from stethoscope.core.errors import StethoscopeError, UsageError
from stethoscope.core.finding import Diagnosis
from stethoscope.core.text import amount, number
from stethoscope.facts.training import History

if TYPE_CHECKING:
    from stethoscope.api import Watch

AWAITS = (
    "a cell with an `await` outside of functions was not run, as a magic cannot await: put "
    "`with stethoscope.watch() as heard:` round it instead"
)
USAGE = "%%stethoscope [--store FOLDER] [--every STEPS] [--no-proof]"


def load_ipython_extension(shell: Any) -> None:
    """Called by `%load_ext` (`Any`: IPython is optional)."""

    def magic(line: str, cell: str) -> Watch | None:
        """Run the cell, listen to what trains in it, and say what is wrong: %%stethoscope [--store FOLDER]"""
        return listen(shell, line, cell)

    shell.register_magic_function(magic, "cell", "stethoscope")


def unload_ipython_extension(shell: Any) -> None:
    """Called by `%unload_ext`."""
    shell.magics_manager.magics["cell"].pop("stethoscope", None)


def listen(shell: Any, line: str, cell: str) -> Watch | None:
    """Run a cell and give what was heard of it, which the notebook then shows; None when nothing could be heard."""
    if _awaits(shell, cell):
        print(f"stethoscope: {AWAITS}", file=sys.stderr)
        return None
    try:
        options = _options(line)
        before, current = set(_cells(shell)), max(len(shell.history_manager.input_hist_raw) - 1, 0)
        _name_cells(shell, before, current)
        watching = api.watch(**options)
    except StethoscopeError as wrong:
        print(f"stethoscope: {wrong}", file=sys.stderr)
        return None
    status = _Status()
    watching.follow(status.update)
    error: BaseException | None = None
    try:
        # One line instead of the magic's own, so that lines are counted as they stand in the cell.
        result = shell.run_cell(f"# %%stethoscope\n{cell}", store_history=False)
        error = result.error_in_exec or result.error_before_exec
    except BaseException as raised:  # of the shell itself: a Ctrl-C between two lines
        error = raised
        raise
    finally:
        watching.__exit__(type(error) if error is not None else None, error, None)
        status.clear()
        _bodies.update((path, current) for path in set(_cells(shell)) - before)
        _name_cells(shell, None, 0)
    return watching


def _awaits(shell: Any, cell: str) -> bool:
    """Whether it awaits outside of any function: a magic runs inside the loop that would have to run it."""
    with contextlib.suppress(SyntaxError, AttributeError):  # which the shell shows; a shell that cannot await
        return bool(shell.should_run_async(cell, transformed_cell=shell.transform_cell(cell)))
    return False


def _options(line: str) -> dict[str, Any]:
    """Arguments of `watch`. Raises UsageError."""
    words, options = shlex.split(line), dict[str, Any]()
    while words:
        word = words.pop(0)
        if word == "--no-proof":
            options["proof"] = False
        elif word == "--store" and words:
            options["store"] = Path(words.pop(0))
        elif word == "--every" and words and words[0].isdecimal():
            options["every"] = int(words.pop(0))
        else:
            raise UsageError(f"`{word}` cannot be read here; write {USAGE}")
    return options


_bodies: dict[str, int] = {}
"""File of the moment to number of the cell, for what ran below `%%stethoscope`: the shell counts it as the next one."""


def _name_cells(shell: Any, before: set[str] | None, current: int) -> None:
    """Lines of cells are named as the notebook counts them: `In[3]:5`, and not by the file of the moment.

    Args:
        shell: that counts them.
        before: files of the cells until now; None where no cell runs below the magic.
        current: number of the cell that is to run.
    """
    from stethoscope.observe.training import sites

    def name(path: str) -> str | None:
        cells = _cells(shell)
        if path not in cells:
            return None
        is_body = before is not None and path not in before
        return f"In[{current if is_body else _bodies.get(path, cells[path])}]"

    sites.name_with(name)


def _cells(shell: Any) -> dict[str, int]:
    """File of the moment to number of the cell."""
    known = getattr(shell.compile, "_filename_map", {})
    return known if isinstance(known, dict) else {}


class _Status:
    """One line below the cell that changes while it trains."""

    def __init__(self) -> None:
        self._handle: Any = None

    def update(self, history: History, diagnosis: Diagnosis) -> None:
        """Say how far it is."""
        display = importlib.import_module("IPython.display").display
        shown = {"text/plain": _in_a_line(history, diagnosis)}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def clear(self) -> None:
        """The report says it all."""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)


def _in_a_line(history: History, diagnosis: Diagnosis) -> str:
    """`stethoscope, step 240: training loss 2.31 at first, 0.41 now; nothing wrong so far`."""
    curve = history.curve("loss")
    loss = ""
    if curve is not None and curve.values.size:
        first, last = float(curve.values[0]), float(curve.values[-1])
        loss = f"training loss {number(float(f'{first:.3g}'))} at first, {number(float(f'{last:.3g}'))} now; "
    grave = [one for one in diagnosis.findings if one.severity.gravity > 1]
    found = f"{amount(len(grave), 'finding')} so far, {grave[0].title}" if grave else "nothing wrong so far"
    return f"stethoscope, step {history.steps:,}: {loss}{found}"
