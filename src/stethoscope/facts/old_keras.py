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
    r"\btf_keras\b|\bKERAS_BACKEND\b|\bkeras\.ops\b|\bfrom keras import [^\n]*\bops\b|\.keras['\"]"
    r"|\btf\.(?:function|random\.set_seed|config\.(?:list_physical|set_visible|experimental)|compat\.v1|data\.AUTOTUNE)\b"
    r"|\bset_random_seed\(|\b(?:image|text)_dataset_from_directory\b|\bexperimental\.preprocessing\b|\bAUTOTUNE\b"
    r"|\b(?:RandomFlip|RandomRotation|RandomZoom|Rescaling|TextVectorization|StringLookup|EfficientNet(?:B|V)\d)\b"
    r"|\btensorflow_version 2|\btf\.__version__ *>= *['\"]2|\bjit_compile\b|\bAdamW\("
)
"""What came with Keras 2.3 or with TensorFlow 2 (September 2019). `tensorflow.keras` did not: in TensorFlow 1 it called
accuracy `acc`.
"""


def is_before_renaming(code: Code) -> bool | None:
    """Whether it runs in a Keras before 2.3, which reported `"accuracy"` as `acc`; None where that is not told."""
    if code.matches(_REMOVED):
        return True
    return False if code.matches(_NEWER) else None
