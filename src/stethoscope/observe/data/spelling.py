"""How texts are written: missing values in all spellings, numbers, dates, variants of one word, damaged letters."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from stethoscope.facts.data import Spelling

MISSING = frozenset((
    "", "na", "n/a", "n.a.", "n.a", "#n/a", "#na", "nan", "nat", "null", "none", "nil", "missing", "unknown",
    "undefined", "-", "--", "---", "?", "??", "???", "<na>", "<null>", "(null)", "[null]", "(blank)", "(empty)",
    "#null!", "#value!", "#ref!", "#div/0!", "tbd", "tba", "tbc", "to be determined", "to be announced", "[deleted]",
    "[removed]", "no data", "no value", "not available", "not applicable", "not known", "not specified", "unspecified",
))  # fmt: skip
"""Spellings of a missing value, in lower case without blanks around."""
FORMS: tuple[tuple[str, str], ...] = (
    ("number 1", r"[+-]?\d+"),
    ("number 1.5", r"[+-]?(?:\d+\.\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?\d+e[+-]?\d+"),
    ("number 1,5", r"[+-]?\d+,\d{1,2}"),
    ("number 1,500", r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"),
    ("number 1.500,0", r"[+-]?\d{1,3}(?:\.\d{3})+,\d+"),
    ("number with %", r"[+-]?\d+(?:[.,]\d+)?\s*%"),
    ("number with currency", r"[$€£¥]\s*[+-]?\d[\d.,]*|[+-]?\d[\d.,]*\s*[$€£¥]"),
    ("number with unit", r"[+-]?\d+(?:[.,]\d+)?\s*[a-zµ°]{1,4}"),
    ("date 1999-12-31", r"\d{4}-\d{1,2}-\d{1,2}(?:[ T]\d{1,2}:\d{2}.*)?"),
    ("date 1999/12/31", r"\d{4}/\d{1,2}/\d{1,2}(?:[ T]\d{1,2}:\d{2}.*)?"),
    ("date 31/12/1999", r"\d{1,2}/\d{1,2}/\d{2,4}(?: \d{1,2}:\d{2}.*)?"),
    ("date 31.12.1999", r"\d{1,2}\.\d{1,2}\.\d{2,4}"),
    ("date 31 Dec 1999", r"\d{1,2} [a-z]{3,9} \d{4}|[a-z]{3,9} \d{1,2},? \d{4}"),
    ("time 23:59", r"\d{1,2}:\d{2}(?::\d{2})?"),
    ("email", r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    ("address of a page", r"https?://\S+"),
    ("truth", r"true|false|yes|no|y|n|t|f"),
)
_FORMS = re.compile("|".join(f"({pattern})" for _, pattern in FORMS), re.IGNORECASE)
DAMAGED = re.compile("\ufffd|Ã[\x80-\xbf©¨¤¶¼±³]|â€[™œ\x9d“”¦]|Â[\xa0-\xbf]")


def is_missing(text: str) -> bool:
    """Whether a text is a spelling of a missing value."""
    return text.strip().lower() in MISSING


def form_of(text: str) -> str:
    """The way in which a text is written: `number 1.5`, `date 31/12/1999`, `word`, `text`."""
    text = text.strip()
    found = _FORMS.fullmatch(text)
    if found is not None and found.lastindex is not None:
        return FORMS[found.lastindex - 1][0]
    return "text" if " " in text else "word"


def spellings(values: Iterable[tuple[str, int]]) -> tuple[Spelling, ...]:
    """The forms of values with their counts, most frequent first."""
    rows: Counter[str] = Counter()
    examples: defaultdict[str, list[str]] = defaultdict(list)
    for text, count in values:
        form = form_of(text)
        rows[form] += count
        if len(examples[form]) < 3:
            examples[form].append(text[:60])
    return tuple(Spelling(form, count, tuple(examples[form])) for form, count in rows.most_common())


def variants(values: Iterable[tuple[str, int]]) -> tuple[tuple[str, ...], ...]:
    """Groups of values that differ by case, spacing or punctuation only; each, and its members, by frequency."""
    groups: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for text, count in values:
        bare = re.sub(r"[\W_]+", "", text).casefold()
        if bare and not bare.isdigit():
            groups[bare].append((-count, text))
    found = [sorted(group) for group in groups.values() if len(group) > 1]
    return tuple(tuple(text for _, text in group) for group in sorted(found, key=lambda group: group[0]))


def is_damaged(text: str) -> bool:
    """Whether a text shows traces of being read in a wrong encoding."""
    return DAMAGED.search(text) is not None
