"""Where this process stands: its step, the user's line, and whether it waits there for other processes.

Read from a thread beside the training: frames and counters, and nothing else. No collective is called, no lock taken.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import NamedTuple

from torch import distributed

from stethoscope.facts.code import Site
from stethoscope.facts.ranks import Standing
from stethoscope.observe.training.sites import is_users, site_of
from stethoscope.observe.training.state import State

IDLE = 0.2
"""A backward pass in which the process computes for a smaller share of the time than this waits for another one."""
MOST_SITES = 4
_DIR = os.path.dirname(distributed.__file__) + os.sep
_COLLECTIVES = ("distributed_c10d.py", "_functional_collectives.py", "rendezvous.py")
_WRAPPER = os.path.join("torch", "nn", "parallel", "distributed.py")
_LOADER = os.path.join("torch", "utils", "data", "dataloader.py")
_ENGINE = ("_engine_run_backward", "backward")
_UNNAMED = ("wrapper", "inner", "_rendezvous_helper", "_distributed_excepthook")


class Where(NamedTuple):
    """What a stack shows."""

    sites: tuple[Site, ...]
    exchange: str
    """Empty where none is on the stack; `backward` and `forward` may compute as well as wait."""
    is_fed: bool


def where(frames: Iterable[tuple[FrameType, int]]) -> Where:
    """What these frames, the innermost first, with their lines, show of a process."""
    sites: list[Site] = []
    exchange, is_fed = "", False
    innermost = ""
    for frame, line in frames:
        code = frame.f_code
        file = code.co_filename
        innermost = innermost or file
        if is_users(code):
            site = site_of((code, line))
            if site is not None and len(sites) < MOST_SITES:
                sites.append(site)
            continue
        is_fed = is_fed or (file.endswith(_LOADER) and code.co_name == "__next__")
        if not sites:
            found = _exchange(file, code.co_name)
            # A wrapped model computes below its wrapper: only in the wrapper's own code does it wait for others.
            if found != "forward" or innermost.startswith(_DIR) or innermost.endswith(_WRAPPER):
                exchange = found or exchange
    return Where(tuple(sites), exchange, is_fed)


def _exchange(file: str, function: str) -> str:
    """The exchange that a frame of a library's belongs to; the one that the user has called comes last."""
    if file.startswith(_DIR) and file.endswith(_COLLECTIVES) and function not in _UNNAMED:
        return function
    if file.endswith(_WRAPPER):
        return "forward" if "forward" in function else "DistributedDataParallel"
    if file.startswith(os.path.join(_DIR, "fsdp")) and "forward" in function:
        return "forward"
    is_torchs = f"{os.sep}torch{os.sep}" in file
    return "backward" if is_torchs and function in _ENGINE else ""


def is_interruption(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or was raised while that was handled: by a `sys.exit`, or by what failed in a `finally`."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__context__
    return False


class Lookout:
    """Looks at the main thread of this process, once a second.

    Args:
        rank: of this process.
        state: what the session counts.
    """

    def __init__(self, rank: int, state: State) -> None:
        self.rank = rank
        self._state = state
        self._main = threading.main_thread().ident or 0
        self._steps = 0
        self._stepped_at = time.monotonic()
        self._longest = 0.0
        self._held: tuple[object, float] = (None, self._stepped_at)
        self._cpu = time.process_time(), self._stepped_at

    def look(self) -> Standing:
        """Where the main thread stands now."""
        now, state = time.monotonic(), self._state
        if state.steps != self._steps:
            if self._steps:
                self._longest = max(self._longest, now - self._stepped_at)
            self._steps, self._stepped_at = state.steps, now
        busy = self._busy(now)
        seen = where(_stack(sys._current_frames().get(self._main)))
        waits = busy < IDLE and distributed.is_initialized() if seen.exchange in ("backward", "forward") else True
        exchange = seen.exchange if waits else ""
        spot = seen.sites, exchange, state.steps
        if spot != self._held[0]:
            self._held = spot, now
        return Standing(
            self.rank, state.steps, now - self._stepped_at, now - self._held[1], self._longest, exchange, seen.sites,
            seen.is_fed, _exchanges(), state.epoch_batches,
        )  # fmt: skip

    def is_interrupted(self) -> bool:
        """Whether the main thread is about Ctrl-C now: in an `except`, a `finally`, at the end of a `with`."""
        active: object = sys._current_exceptions().get(self._main)
        error = active[1] if isinstance(active, tuple) else active  # Python 3.11 gives three, later ones the exception
        return is_interruption(error) if isinstance(error, BaseException) else False

    def _busy(self, now: float) -> float:
        """Share of the time since the last look in which this process computed; 1 where too little has passed."""
        cpu, before = self._cpu
        spent = time.process_time()
        self._cpu = spent, now
        return (spent - cpu) / (now - before) if now - before > 0.05 else 1.0


def standing_at(error: BaseException, rank: int, state: State) -> Standing | None:
    """Where an exchange has failed, and with what; None where the exception is of another kind."""
    seen = where(reversed(_raised(error.__traceback__)))
    words = str(error).strip().splitlines()
    is_of_exchange = isinstance(error, distributed.DistError) or any(
        name in str(error).lower() for name in ("gloo", "nccl", "processgroup", "process group")
    )
    if not seen.exchange or not is_of_exchange:
        return None
    return Standing(
        rank, state.steps, exchange=seen.exchange, sites=seen.sites, exchanges=_exchanges(),
        batches=state.epoch_batches, failed=words[0][:200] if words else type(error).__name__,
    )  # fmt: skip


def _stack(frame: FrameType | None) -> Iterable[tuple[FrameType, int]]:
    while frame is not None:
        yield frame, frame.f_lineno or 0
        frame = frame.f_back


def _raised(tb: TracebackType | None) -> list[tuple[FrameType, int]]:
    frames = []
    while tb is not None:
        frames.append((tb.tb_frame, tb.tb_lineno or 0))
        tb = tb.tb_next
    return frames


def _exchanges() -> int:
    """Exchanges that were begun in the default process group: a counter of its own, read and no more."""
    try:
        group = distributed.distributed_c10d._get_default_group()
        return int(group._get_sequence_number_for_group())
    except (AttributeError, RuntimeError, ValueError, TypeError):
        return -1
