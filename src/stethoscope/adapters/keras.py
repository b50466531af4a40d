"""For Keras: `model.fit(..., callbacks=[stethoscope.adapters.keras.Callback()])`, on torch, JAX or TensorFlow."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stethoscope.adapters.listening import Listening
from stethoscope.adapters.telling import begun
from stethoscope.api import Watch
from stethoscope.core.errors import MissingPiece, UsageError

if TYPE_CHECKING:
    from stethoscope.observe.arrays.keras_fit import KerasFit

try:
    import keras
except ImportError as error:
    raise MissingPiece("this callback needs Keras; install it with `pip install keras`") from error

BACKENDS = ("torch", "jax", "tensorflow")


class Callback(Listening, keras.callbacks.Callback):  # type: ignore[misc]
    """Listens from the start of `fit` to its end.

    On JAX and TensorFlow it sees what passes through Keras's own loop: weights and their updates, gradients, losses,
    layers' outputs, batches and targets.
    """

    def __init__(
        self,
        report: bool = True,
        every: int = 0,
        budget: float | None = None,
        store: str | Path | None = None,
        proof: bool | None = None,
    ) -> None:
        if keras.backend.backend() not in BACKENDS:
            raise UsageError(
                f"Keras runs on {keras.backend.backend()} here, and is listened to on {', '.join(BACKENDS)}: "
                "set KERAS_BACKEND to one of them"
            )
        super().__init__(report, every, budget, store, proof)
        self._fit: KerasFit | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin with the model that is fitted."""
        if keras.backend.backend() == "torch":
            self.begin(self.model)
            return
        try:
            from stethoscope.observe.arrays.keras_fit import KerasFit
            from stethoscope.observe.training.sites import spot
        except ImportError as error:
            raise MissingPiece(
                "listening needs PyTorch on the CPU for its arithmetic; install it with `pip install torch`"
            ) from error
        if self._fit is not None:
            self._fit.leave()  # the fit before was broken off
        if self._listens:
            self.end()
        recording, session = begun("keras", self.every, self.budget, self.store)
        self.heard = Watch(recording)
        atexit.register(self.heard._at_exit)
        self._listens = True
        place = spot(2)
        try:
            self._fit = KerasFit(self.model, session, place)
        except Exception as error:  # a model that we cannot describe is trained all the same
            session.state.give_up("steps", error)
            self._fit = None
            return
        self._fit.listen()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Means begin anew."""
        if self._fit is not None:
            self._fit.epoch_begins()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Take in what validation gave."""
        if self._fit is not None:
            self._fit.epoch_ended(logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Report."""
        if self._fit is not None:
            self._fit.leave()
            self._fit = None
        self.end()
