"""Whether a file can hold anything that a rule speaks of, decided before it is parsed.

Most of a large project has nothing to do with training, and to parse it takes nearly all of the time. A rule about
something else adds its word here; a test holds the examples of all rules against it.
"""

from __future__ import annotations

import re

WORDS = (
    b".backward(", b".step(", b".eval(", b"optim.", b"DataLoader(", b"Sequential(", b"ModuleList(", b"Loss(",
    b"oftmax(", b"ropout(", b"cross_entropy", b"nll_loss", b"kl_div", b".weight.data", b"LightningModule", b"sklearn",
    b"keras", b"imblearn", b"xgboost", b"lightgbm", b"fastai", b"scaled_dot_product_attention", b"torch.Tensor(",
    b"import pandas", b"torchvision", b"torchmetrics", b"autocast(", b"random_split",
)  # fmt: skip

_FETCHING = (b"url", b"requests", b"download", b"get_file", b"cached_file")
TOGETHER = (
    (b"_grad", (b"zero_grad", b"no_grad(", b"require_grad")),
    (b"nan", (b"== np.nan", b"!= np.nan", b"== math.nan", b"!= math.nan", b'= float("nan', b"= float('nan")),
    (b"init.", (b"init.zeros_", b"init.ones_", b"init.constant_")),
    (b"nn.", (b"nn.LSTM(", b"nn.GRU(", b"nn.RNN(")),
    (b".distributed", (b"isend(", b"irecv(")),
    (b"pickle.load", _FETCHING),
    (b"joblib.load", _FETCHING),
    (b"torch.load", _FETCHING),
)
"""Words that say something only where one of the others stands, too; one that is a part of them saves to look for
each."""

PATTERNS = (
    (b"Module", re.compile(rb"class\s+\w+\s*\([^()]*Module\b")),
    (b"requires_grad", re.compile(rb"\.requires_grad(?:_\(|\s*=[^=])")),
    (b"state_dict", re.compile(rb"\.state_dict\b")),
    (b"async_op", re.compile(rb"async_op\s*=(?!\s*False)")),
)
"""The same of words that many files have which only pass such a thing on: looked for where the word stands."""


PASSED_ON = (b"pickle.load", b"joblib.load", b"torch.load", b"state_dict", b"async_op", b"torch.utils.data")
"""Words of files of which no rule says anything, and whose functions may matter to a file that imports them."""


def is_relevant(data: bytes) -> bool:
    """Whether a file's bytes say anything that a rule knows."""
    return (
        any(word in data for word in WORDS)
        or any(word in data and any(other in data for other in others) for word, others in TOGETHER)
        or any(word in data and pattern.search(data) for word, pattern in PATTERNS)
        or data.startswith((b"\xff\xfe", b"\xfe\xff"))
    )


def may_matter(data: bytes) -> bool:
    """Whether something may be learnt of a file by one that imports it."""
    return is_relevant(data) or any(word in data for word in PASSED_ON)
