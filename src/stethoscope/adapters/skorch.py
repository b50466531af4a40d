"""For skorch: `NeuralNetClassifier(callbacks=[stethoscope.adapters.skorch.Callback()])`."""

from __future__ import annotations

from typing import Any

from stethoscope.adapters.listening import Listening
from stethoscope.core.errors import MissingPiece

try:
    from skorch.callbacks import Callback as Base
except ImportError as error:
    raise MissingPiece("this callback needs skorch; install it with `pip install skorch`") from error


class Callback(Listening, Base):  # type: ignore[misc]
    """Listens from the start of `fit` to its end."""

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Begin with the net's modules and optimizers."""
        self.begin(*(getattr(net, f"{name}_") for name in (*net._modules, *net._optimizers)))

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Report."""
        self.end()
