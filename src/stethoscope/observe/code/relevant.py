"""Whether a file can hold anything that a rule speaks of, decided before it is parsed.

Most of a large project has nothing to do with training, and to parse it takes nearly all of the time. A rule about
something else adds its word here; a test holds the examples of all rules against it.
"""

from __future__ import annotations

import re

WORDS = (
    b".backward(", b"zero_grad", b".step(", b".eval(", b"optim.", b"DataLoader(", b"Sequential(", b"ModuleList(",
    b"Loss(", b"cross_entropy", b"oftmax(", b"ropout(", b"nll_loss", b"kl_div", b"init.zeros_", b"init.ones_",
    b"init.constant_", b".weight.data", b"LightningModule", b"sklearn", b"keras", b"imblearn", b"xgboost",
    b"lightgbm", b"fastai", b"nn.LSTM(", b"nn.GRU(", b"nn.RNN(", b"scaled_dot_product_attention", b"torch.Tensor(",
    b"import pandas", b"== np.nan", b"!= np.nan", b"== math.nan", b"!= math.nan", b"= float(\"nan", b"= float('nan",
    b"torchvision", b"pickle.load", b"joblib.load", b"torchmetrics", b"require_grad", b"state_dict", b"isend(",
    b"irecv(", b"async_op", b"torch.load", b"no_grad(", b"autocast(", b"random_split",
)  # fmt: skip

PATTERNS = (
    (b"Module", re.compile(rb"class\s+\w+\s*\([^()]*Module\b")),
    (b"requires_grad", re.compile(rb"\.requires_grad(?:_\(|\s*=[^=])")),
)
"""The same of words that many files have which only pass such a thing on: looked for where the word stands."""


def is_relevant(data: bytes) -> bool:
    """Whether a file's bytes say anything that a rule knows."""
    return (
        any(word in data for word in WORDS)
        or any(word in data and pattern.search(data) for word, pattern in PATTERNS)
        or data.startswith((b"\xff\xfe", b"\xfe\xff"))
    )
