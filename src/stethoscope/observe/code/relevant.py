"""Whether a file can hold anything that rules know, decided before it is parsed."""

from __future__ import annotations

import re

_WORDS = re.compile(
    rb"torch|keras|tensorflow|sklearn|lightning|accelerate|transformers|imblearn|xgboost|lightgbm|pandas|fastai|ignite"
    rb"|backward|zero_grad"
)


def is_relevant(data: bytes) -> bool:
    """Whether a file's bytes name a library that rules know, or a step of training."""
    return _WORDS.search(data) is not None or data.startswith((b"\xff\xfe", b"\xfe\xff"))
