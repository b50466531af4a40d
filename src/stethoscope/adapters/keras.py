"""For Keras on its torch backend: `model.fit(..., callbacks=[stethoscope.adapters.keras.Callback()])`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stethoscope.adapters.listening import Listening
from stethoscope.core.errors import MissingPiece, UsageError

try:
    import keras
except ImportError as error:
    raise MissingPiece("this callback needs Keras; install it with `pip install keras`") from error


class Callback(Listening, keras.callbacks.Callback):  # type: ignore[misc]
    """Listens from the start of `fit` to its end."""

    def __init__(
        self,
        report: bool = True,
        every: int = 0,
        budget: float | None = None,
        store: str | Path | None = None,
        proof: bool | None = None,
    ) -> None:
        if keras.backend.backend() != "torch":
            raise UsageError(
                f"Keras runs on {keras.backend.backend()} here, and is listened to on its torch backend only: "
                "set KERAS_BACKEND=torch"
            )
        super().__init__(report, every, budget, store, proof)

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin with the model that is fitted."""
        self.begin(self.model)

    def on_train_end(self, logs: Any = None) -> None:
        """Report."""
        self.end()
