"""Texts that stand for one that is not there: `[deleted]`, `no text`, a line of dashes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from stethoscope.observe.data.spelling import is_missing

NOTHING = frozenset((
    "deleted", "removed", "redacted", "no text", "no content", "no comment", "no comments", "no description", "no body",
    "no title", "not available", "not applicable", "not provided", "not specified", "not given", "unavailable",
    "content unavailable", "no data", "no value", "no review", "empty", "blank", "placeholder", "lorem ipsum", "tbd",
    "todo", "test", "text here", "your text here", "insert text here", "n a", "none given",
    "deleted by user", "removed by moderator", "removed by reddit", "deleted user", "comment deleted",
    "comment removed", "message deleted", "this message was deleted", "this comment has been removed",
    "this comment has been deleted", "this post has been removed", "this post has been deleted", "media omitted",
    "image omitted", "attachment removed", "untitled", "asdf",
))  # fmt: skip
"""What is said in the place of a text, in lower case and without marks; `N/A` and the like are missing."""
BOXED = re.compile(r"\s*(?:\[[^\[\]]{1,40}\]|<[^<>]{1,40}>|\{\{?[^{}]{1,40}\}?\}|__\w{1,40}__|%\(?\w{1,20}\)?s?)\s*")
"""A text that is nothing but a mark of a program."""
MARKS = re.compile(r"\s*([-_*#~=.+/\\|])(?:\s*\1){2,}\s*")
"""One mark again and again, as a line of dashes; `:-)` and `?!` say something."""
SEVERAL = 3
"""Texts with the same mark in brackets from which on it stands for something that is not there."""
LONGEST = 48
"""Characters."""
MOST_WORDS = 6


def placeholders(
    texts: Sequence[str], words: Sequence[Sequence[str]], rows: Iterable[int]
) -> tuple[tuple[tuple[int, str], ...], int]:
    """Rows whose text stands for none, with that text, and how many of them say so in words that are known.

    Args:
        texts: as they are.
        words: of each, in lower case.
        rows: of each, in its set.
    """
    boxed = Counter(text.strip() for text in texts if len(text) <= LONGEST and BOXED.fullmatch(text))
    found, sure = [], 0
    for text, some, row in zip(texts, words, rows, strict=True):
        if not text.strip() or is_missing(text):
            continue
        is_known = (len(some) <= MOST_WORDS and " ".join(some) in NOTHING) or MARKS.fullmatch(text) is not None
        if is_known or boxed.get(text.strip(), 0) >= SEVERAL:
            found.append((int(row), text.strip()[:LONGEST]))
            sure += is_known
    return tuple(found), sure
