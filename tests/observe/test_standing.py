"""What a stack shows of a process that stands still: the user's lines, and whether it waits for other processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from torch import distributed

from stethoscope.observe.training import standing
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.standing import Lookout, Where, is_interruption, where

TORCH = os.path.dirname(os.path.dirname(distributed.__file__))
C10D = (f"{TORCH}/distributed/distributed_c10d.py", "barrier")
LOGGER = (f"{TORCH}/distributed/c10d_logger.py", "wrapper")
BACKWARD = (f"{TORCH}/_tensor.py", "backward")
ENGINE = (f"{TORCH}/autograd/graph.py", "_engine_run_backward")
HOOK = (f"{TORCH}/distributed/distributed_c10d.py", "_distributed_excepthook")
WRAPPER = (f"{TORCH}/nn/parallel/distributed.py", "forward")
MODULE = (f"{TORCH}/nn/modules/linear.py", "forward")
LOADER = (f"{TORCH}/utils/data/dataloader.py", "__next__")
USERS = ("train.py", "main")
DATASET = ("data.py", "read")


def _seen(*stack: tuple[str, str]) -> Where:
    """Functions of these files that call each other, the outermost first, seen from the innermost."""
    found: list[FrameType] = []

    def look() -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and len(found) < len(stack):
            found.append(frame)
            frame = frame.f_back

    call: Any = look
    for file, name in reversed(stack):
        room: dict[str, Any] = {"call": call}
        exec(compile(f"def {name}():\n    call()", file, "exec"), room)
        call = room[name]
    call()
    return where((frame, frame.f_lineno) for frame in found)


@pytest.mark.parametrize(
    ("stack", "exchange"),
    [
        ((USERS, LOGGER, C10D), "barrier"),
        ((USERS, BACKWARD, ENGINE), "backward"),
        ((USERS, BACKWARD, ENGINE, C10D), "backward"),
        ((USERS, WRAPPER), "forward"),
        ((USERS, WRAPPER, C10D), "forward"),
        ((USERS, WRAPPER, MODULE), ""),
        ((USERS, WRAPPER, DATASET), ""),
        ((USERS,), ""),
        ((HOOK,), ""),
    ],
)
def test_an_exchange_is_told_from_what_a_process_does_by_itself(stack: Any, exchange: str) -> None:
    seen = _seen(*stack)

    assert seen.exchange == exchange
    assert ("train.py" in [site.file for site in seen.sites]) == (USERS in stack)
    assert not seen.is_fed


def test_a_loader_at_work_is_seen_with_the_users_lines_in_and_round_it() -> None:
    seen = _seen(USERS, LOADER, DATASET)

    assert seen.is_fed
    assert [site.file for site in seen.sites] == ["data.py", "train.py"]
    assert seen.exchange == ""


@pytest.mark.parametrize("is_one_of_several", [True, False])
def test_a_backward_pass_waits_for_others_only_where_there_is_a_group(
    is_one_of_several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "where", lambda frames: Where((), "backward", False))
    monkeypatch.setattr(Lookout, "_busy", lambda self, now: 0.0)  # as while an accelerator computes
    monkeypatch.setattr(distributed, "is_initialized", lambda: is_one_of_several)
    seen = Lookout(0, Session().state).look()

    assert seen.exchange == ("backward" if is_one_of_several else "")


def _is_interrupted() -> bool:
    """Whether this thread, the main one, is about Ctrl-C, as another thread sees it."""
    lookout, found = Lookout(0, Session().state), list[bool]()
    looking = threading.Thread(target=lambda: found.append(lookout.is_interrupted()))
    looking.start()
    looking.join()
    return found[0]


@contextmanager
def _asked_at_the_end(found: list[bool]) -> Iterator[None]:
    try:
        yield
    finally:
        try:
            {}["missing"]
        except KeyError:
            found.append(_is_interrupted())


@pytest.mark.parametrize(("error", "is_one"), [(KeyboardInterrupt, True), (RuntimeError, False)])
def test_who_cleans_up_after_ctrl_c_is_known(error: type[BaseException], is_one: bool) -> None:
    found = [_is_interrupted()]
    with pytest.raises(error), _asked_at_the_end(found):
        raise error
    try:
        raise error
    except error:
        found.append(_is_interrupted())
    found.append(_is_interrupted())

    assert found == [False, is_one, is_one, False]


def test_ctrl_c_is_seen_behind_what_was_raised_while_it_was_handled() -> None:
    def exit_on_ctrl_c() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as left:
        exit_on_ctrl_c()

    assert is_interruption(left.value)
    assert not is_interruption(SystemExit(1))
    assert not is_interruption(None)
