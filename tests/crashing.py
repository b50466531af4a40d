"""What is said of a call that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stethoscope.facts.model import Crash
from stethoscope.observe.preflight.crash import crash_of
from stethoscope.observe.training.models import ModelBook


def failed(run: Callable[[], Any], book: ModelBook | None = None) -> Crash:
    """The explanation of the exception that this call ends with."""
    try:
        run()
    except Exception as error:
        crash = crash_of(error, book=book)
        assert crash is not None
        return crash
    raise AssertionError("nothing was raised")
