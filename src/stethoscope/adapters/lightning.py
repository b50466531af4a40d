"""For Lightning: `Trainer(callbacks=[stethoscope.adapters.lightning.Callback()])`."""

from __future__ import annotations

from typing import Any

from stethoscope.adapters.listening import Listening
from stethoscope.core.errors import MissingPiece

try:
    from lightning.pytorch.callbacks import Callback as Base
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback as Base
    except ImportError as error:
        raise MissingPiece("this callback needs Lightning; install it with `pip install lightning`") from error


class Callback(Listening, Base):  # type: ignore[misc]
    """Listens from the start of `fit` to its end."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin with the trainer's model and optimizers."""
        self.begin(pl_module, *trainer.optimizers)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Report."""
        self.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Report what was known by then."""
        self.end(exception)
