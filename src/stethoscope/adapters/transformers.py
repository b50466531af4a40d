"""For Hugging Face's Trainer: `Trainer(callbacks=[stethoscope.adapters.transformers.Callback()])`."""

from __future__ import annotations

from typing import Any

from stethoscope.adapters.listening import Listening
from stethoscope.core.errors import MissingPiece

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingPiece("this callback needs Transformers; install it with `pip install transformers`") from error


class Callback(Listening, TrainerCallback):  # type: ignore[misc]
    """Listens from the start of `train` to its end."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **things: Any) -> None:
        """Begin with the trainer's model and optimizer."""
        self.begin(things["model"], *bare_optimizers([things.get("optimizer")]))

    def on_train_end(self, args: Any, state: Any, control: Any, **things: Any) -> None:
        """Report."""
        self.end()


def bare_optimizers(wrapped: list[Any]) -> list[Any]:
    """The optimizers themselves, out of Accelerate's wrappers."""
    return [getattr(one, "optimizer", one) for one in wrapped if one is not None]
