"""What somebody hands over to be checked, whatever it is made with."""

from __future__ import annotations

from typing import Any

from stethoscope.observe.preflight.given import MOST_BATCHES, Given, given
from stethoscope.observe.preflight.given_keras import GivenKeras, given_keras
from stethoscope.observe.training.keras_layers import is_keras


def handed_over(model: Any, loss: Any, data: Any, optimizer: Any, *, most: int = MOST_BATCHES) -> Given | GivenKeras:
    """A model with what it is trained with: copies, or the model's own weights to be put back.

    Raises: UsageError when something of it is of another kind.
    """
    return (given_keras if is_keras(model) else given)(model, loss, data, optimizer, most=most)
