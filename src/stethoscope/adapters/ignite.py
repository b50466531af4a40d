"""For Ignite: `stethoscope.adapters.ignite.attach(trainer, model, optimizer)`."""

from __future__ import annotations

from typing import Any

from stethoscope.adapters.listening import Listening
from stethoscope.core.errors import MissingPiece


def attach(trainer: Any, *things: object, **options: Any) -> Listening:
    """Listen from the start of the trainer's run to its end.

    Args:
        trainer: an `Engine`.
        things: the models and optimizers that it trains.
        options: those of `Listening`.
    """
    try:
        from ignite.engine import Events
    except ImportError as error:
        raise MissingPiece("this needs Ignite; install it with `pip install pytorch-ignite`") from error
    listening = Listening(**options)
    trainer.add_event_handler(Events.STARTED, lambda: listening.begin(*things))
    # Not at EXCEPTION_RAISED: an engine with a handler for it swallows the exception. What was heard is then
    # reported when the program ends.
    trainer.add_event_handler(Events.COMPLETED, lambda: listening.end())
    return listening
