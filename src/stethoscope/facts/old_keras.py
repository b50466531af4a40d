"""Code that was written for a Keras of long ago, in which numbers had other names."""

from __future__ import annotations

import re

from stethoscope.facts.code import Code

_REMOVED = re.compile(
    r"\bnb_epochs?\s*=|\bsamples_per_epoch\s*=|\bborder_mode\s*=|\binit\s*=\s*['\"]|\bConvolution[123]D\("
    r"|\bimage_dim_ordering\b|\btf\.(?:Session|placeholder|ConfigProto|set_random_seed|get_default_graph)\("
)
"""What Keras 2.0 or TensorFlow 2.0 took away: who calls it runs an older one."""
_NEWER = re.compile(
    r"\b(?:tensorflow|tf)\.keras\b|\bfrom tensorflow import [^\n]*\bkeras\b|\btf_keras\b|\bKERAS_BACKEND\b"
    r"|\bkeras\.ops\b|\bfrom keras import [^\n]*\bops\b|\.keras['\"]|\blearning_rate\s*="
)
"""What came with Keras 2.3, or is how it has been imported since TensorFlow 2 (September 2019)."""


def is_before_renaming(code: Code) -> bool | None:
    """Whether it runs in a Keras before 2.3, which reported `"accuracy"` as `acc`; None where that is not told."""
    if code.matches(_REMOVED):
        return True
    return False if code.matches(_NEWER) else None
