"""Whether a file can hold anything that a rule speaks of, decided before it is parsed.

Most of a large project has nothing to do with training, and to parse it takes nearly all of the time. A rule about
something else adds its word here; a test holds the examples of all rules against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

WORDS = (
    b".backward(", b".step(", b".eval(", b"DataLoader(", b"Sequential(", b"ModuleList(", b"Loss(", b"cross_entropy",
    b"nll_loss", b"kl_div", b".weight.data", b"LightningModule", b"sklearn", b"keras", b"imblearn", b"xgboost",
    b"lightgbm", b"fastai", b"import pandas", b"torchmetrics", b"random_split",
)  # fmt: skip

_FETCHING = (b"urlopen", b"urlretrieve", b"requests", b"download", b"get_file", b"cached_file")
TOGETHER = (
    (b"_grad", (b"zero_grad", b"require_grad")),
    (b".nan", (b"== np.nan", b"!= np.nan", b"== math.nan", b"!= math.nan")),
    (b"float(", (b'= float("nan', b"= float('nan")),
    (b"init.", (b"init.zeros_", b"init.ones_", b"init.constant_")),
    (b"nn.", (b"nn.LSTM(", b"nn.GRU(", b"nn.RNN(")),
    (b"torch.Tensor(", (b"Parameter(",)),
    (b".state_dict()", (b"load_state_dict(", b".save(")),
    (b"pickle.load", _FETCHING),
    (b"joblib.load", _FETCHING),
    (b"weights_only", _FETCHING),
)
"""Words that say something only where one of the others stands, too; one that is a part of them saves to look for
each."""
_ALONE_OR_TOGETHER: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (*((word, ()) for word in WORDS), *TOGETHER)


def _called(names: str) -> re.Pattern[bytes]:
    """A call of one of these names, which is none that begins with more, and no definition; in the JSON of a notebook
    the end of the line before is written as two characters.
    """
    return re.compile(rb"(?<!def )(?:(?<!\w)|(?<=\\n))(?:%b)\(" % names.encode())


def _alone(name: str) -> re.Pattern[bytes]:
    """A call that is a statement: it begins a line, also one in the JSON of a notebook."""
    return re.compile(rb"(?:^|[:;\"\\])\s*[\w.]*%b\(" % name.encode(), re.M)


PATTERNS = (
    (b"Module", re.compile(rb"class\s+\w+\s*\([^()]*Module\b")),
    (b"optim.", re.compile(rb"optim\.[\w.]+\(|=\s*[\w.]*\boptim\.")),
    (b"requires_grad", re.compile(rb"\.requires_grad\s*=[^=]")),
    (b"async_op", re.compile(rb"async_op\s*=(?!\s*(?:False|async_op)\b)\s*\w+\s*[,)]")),
)
"""The same of words that many files have which only define such a thing, mention it, or pass it on."""
IN_A_LINE = (
    (b"oftmax(", _called(r"\w*Softmax|(?:log_|gumbel_)?softmax")),
    (b"ropout(", _called(r"\w*Dropout|(?:alpha_|feature_)?dropout")),
    (b"torchvision", re.compile(rb"(?:from|import)[^\n#]*\btorchvision")),
    (b"scaled_dot", re.compile(rb"(?<!def )(?<!\w)scaled_dot_product_attention(?:\(| as )")),
    (b"no_grad(", _alone("no_grad")),
    (b"autocast(", _alone("autocast")),
    (b"isend(", _alone("isend")),
    (b"irecv(", _alone("irecv")),
)
"""Likewise, of what begins in the line in which the word stands: only such lines are looked at."""


_COMMENT = re.compile(rb"#[^\r\n]*")
_LONG = (
    rb'(?:"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    rb"|\'\'\'[^\'\\]*(?:(?:\\.|\'(?!\'\'))[^\'\\]*)*\'\'\')"
)
_STRINGS = re.compile(
    rb"(?P<comment>#[^\r\n]*)"
    rb"|\b(?:[fF][rR]?|[rR][fF])" + _LONG +  # holds code
    rb"|(?P<long>" + _LONG + rb")"
    rb"""|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'""",
    re.S,
)  # fmt: skip
"""Comments and strings, each from where it really begins."""


PASSED_ON = (
    b"pickle.load", b"joblib.load", b"torch.load", b"state_dict", b"async_op", b"torch.utils.data", b"requires_grad",
    b"no_grad(", b"autocast(", b"torch.Tensor(", b"optim.", b"oftmax(", b"ropout(", b"torchvision", b"scaled_dot",
    b"isend(", b"irecv(", b"set_grad_enabled(",
)  # fmt: skip
"""Words of files of which no rule says anything, and whose functions may matter to a file that imports them."""


def is_relevant(data: bytes) -> bool:
    """Whether a file's bytes say anything that a rule knows."""
    return _says(data, _first_words(data))


def is_said_in_code(data: bytes) -> bool:
    """Whether a Python file is relevant, and a rule's word stands in its code and not only in what is written about it:
    a library's documentation speaks of training on every page.
    """
    first = _first_words(data)  # what comes before these stands nowhere in the file, and need not be looked for again
    if not _says(data, first):
        return False
    # Nearly always a word is left whatever stands between long quotes; only the others need to be read with care.
    rest = b"".join(_COMMENT.sub(b"", data).split(b'"""')[::2])
    rest = b"".join(rest.split(b"'''")[::2])
    if _says(rest, _first_words(rest, first)):
        return True
    code = _STRINGS.sub(lambda found: b"" if found.lastgroup else found[0], data)
    return _says(code, _first_words(code, first))


def _first_words(data: bytes, start: int = 0) -> int:
    """The place of the first words that are said, of those from `start` on; behind the last where none are."""
    for place in range(start, len(_ALONE_OR_TOGETHER)):
        word, others = _ALONE_OR_TOGETHER[place]
        if word in data and (not others or any(other in data for other in others)):
            return place
    return len(_ALONE_OR_TOGETHER)


def _says(data: bytes, first: int) -> bool:
    """Whether anything is said, where the first words that are have this place."""
    return (
        first < len(_ALONE_OR_TOGETHER)
        or any(word in data and pattern.search(data) for word, pattern in PATTERNS)
        or any(pattern.search(line) for word, pattern in IN_A_LINE for line in _lines_with(word, data))
        or data.startswith((b"\xff\xfe", b"\xfe\xff"))
    )


def _lines_with(word: bytes, data: bytes) -> Iterator[bytes]:
    found = data.find(word)
    while found >= 0:
        start, end = data.rfind(b"\n", 0, found) + 1, data.find(b"\n", found)
        yield data[start : end if end >= 0 else len(data)]
        found = data.find(word, end) if end >= 0 else -1


def may_matter(data: bytes) -> bool:
    """Whether something may be learnt of a file by one that imports it."""
    return any(word in data for word in PASSED_ON) or is_relevant(data)
