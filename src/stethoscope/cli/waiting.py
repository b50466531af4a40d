"""A bar on the terminal for work that takes long."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

PATIENCE_S = 1.0
"""What is done sooner shows nothing."""


@contextmanager
def shown_progress(
    quiet: bool = False, stream: TextIO | None = None, patience: float = PATIENCE_S
) -> Iterator[Callable[[str, float], None] | None]:
    """Gives what is to be told what is being done, and how much of all of it (0..1) is done before.

    A bar is drawn on a terminal only, after a while, and removed at the end; else None is given.

    Args:
        quiet: never draw it.
        stream: the terminal; standard error when None.
        patience: seconds before it is drawn.
    """
    stream = stream or sys.stderr
    if quiet or not stream.isatty():
        yield None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from stethoscope.render.rich_parts import Console

    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(24), TimeElapsedColumn(),
        console=Console(file=stream), transient=True,
    )  # fmt: skip
    task = bar.add_task("read the data", total=1.0)
    ended = threading.Lock()

    def start() -> None:
        if ended.acquire(blocking=False):
            try:
                bar.start()
            finally:
                ended.release()

    timer = threading.Timer(patience, start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda what, done: bar.update(task, description=what, completed=done)
    finally:
        timer.cancel()
        ended.acquire()  # a bar that is just being started is stopped below; none is started from here on
        bar.stop()
