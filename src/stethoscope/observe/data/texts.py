"""What is seen in a column of texts: their properties, copies, damage, languages, and words that give a label away."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stethoscope.facts.data import Data, Profile, Rows
from stethoscope.facts.texts import PROPERTIES, TextSet
from stethoscope.observe.data.languages import language_of, script_of
from stethoscope.observe.data.placeholders import placeholders
from stethoscope.observe.data.spelling import DAMAGED
from stethoscope.observe.data.text_copies import near_copies
from stethoscope.observe.data.ties import ties

LONGEST = 2000
"""Characters of a text that are looked at."""
SEVERAL = 5
"""Words from which on equal texts are copies: `ok` and `thank you` are said by many."""
MOST = 200
"""Rows of one kind that are kept."""
FEW = 0.05
"""Share of the texts up to which another script or language is foreign."""
PASSAGE = 30
"""Characters from which on a sentence that stands in many texts is boilerplate."""
OFTEN = 0.05
FEWEST = 10
PURE = 0.98
"""Share of the texts with a word that have one label, from which on it tells the label."""
WIDESPREAD = 0.3
"""Share of the label's texts that have the word: below, it is a word of the subject."""
NAMED = 0.1
"""The same of a word that is the label's name."""
MOST_CLASSES = 100
NEW_WORDS = 20

_WORD = re.compile(r"\w+")
_UPPER = re.compile("[A-ZÀ-ÖØ-ÞΑ-ΩА-Я]")
_DIGIT = re.compile(r"\d")
_MARK = re.compile(r"[^\w\s]")
_FOREIGN_LETTER = re.compile(r"[^\x00-\x7f]")
_MARKUP = re.compile(r"&(?:amp|lt|gt|quot|nbsp|#\d{2,5});|</?(?:br|p|div|span|a|b|i|li|ul)\b[^>]{0,80}>", re.IGNORECASE)
_SENTENCE = re.compile(r"[\n\r.!?]+")

Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Vocabulary:
    """What a second set is compared with."""

    words: Mapping[str, int]
    """Word to the number of different texts that have it."""
    texts: Mapping[str, int]
    """Text but for case and spacing, to its row."""
    runs: Sequence[Sequence[str]]
    """The words of each different text, ..."""
    rows: Sequence[int]
    """... and its row."""


def with_texts(data: Data, column: str | None = None) -> Data:
    """With what is seen in a column of texts; found by itself where it is not named."""
    name = column or text_column(data.train.profile, (data.target, data.predictions))
    if not name or name not in data.train.sample.values or data.train.sample.values[name].dtype != object:
        return data
    labels = data.train.sample.values.get(data.target) if data.task == "classification" else None
    first, vocabulary = look(name, data.train.sample, labels)
    train, test = replace(data.train, texts=first), data.test
    if test is not None and name in test.sample.values and test.sample.values[name].dtype == object:
        test = replace(test, texts=look(name, test.sample, None, vocabulary)[0])
    return replace(data, train=train, test=test)


def text_column(profile: Profile, others: Sequence[str]) -> str:
    """The column with the longest texts; empty where there is none of texts."""
    found = [
        (column.words.lengths.mean, column.name)
        for column in profile.columns
        if column.kind == "text" and column.words is not None and column.name not in others
    ]
    return max(found)[1] if found else ""


def look(
    column: str, rows: Rows, labels: NDArray[np.float64] | Texts | None, like: Vocabulary | None = None
) -> tuple[TextSet, Vocabulary]:
    """What is seen in the texts of a sample.

    Args:
        column: its name.
        rows: the sample.
        labels: (rows,) of a classification, or None.
        like: of the first set, where this is the second one.

    Cost: about 60 microseconds for a text of 200 words.
    """
    present = [place for place, one in enumerate(rows.values[column]) if one is not None]
    texts = [str(rows.values[column][place])[:LONGEST] for place in present]
    whole = [len(str(rows.values[column][place])) for place in present]
    index = rows.index[present] if present else np.zeros(0, np.int64)
    words = [_WORD.findall(text.lower()) for text in texts]
    bare = [" ".join(some) for some in words]
    kept = np.array([bool(text.strip()) for text in texts], bool)
    once: dict[str, int] = {}
    for place, text in enumerate(bare):
        once.setdefault(text, place)
    found = Counter(word for place in once.values() for word in set(words[place]))
    values = np.array(
        [
            _properties(text, some, size, found if like is None else like.words, 1 if like is None else 0)
            for text, some, size in zip(texts, words, whole, strict=True)
        ]
    ).reshape(-1, len(PROPERTIES))
    written = [(script_of(text), some) for text, some in zip(texts, words, strict=True)]
    spoken = [language_of(some) if script == "Latin" else "" for script, some in written]
    scripts, languages = _shares([script for script, _ in written]), _shares(spoken)
    stand_ins, sure = placeholders(texts, words, index)
    own = list(once.values())
    pairs = near_copies([words[place] for place in own])
    given = None if labels is None else [_label(labels[place]) for place in present]
    seen = TextSet(
        column=column, rows=rows.count, values=values[kept], index=index[kept],
        placeholders=stand_ins, sure_placeholders=sure, alike=_latest(pairs, index[own]),
        telling=() if given is None else _tied(values[kept], np.array(given, dtype=object)[kept]),
        empty=int((~kept).sum()), empty_rows=tuple(int(row) for row in index[~kept][:MOST]),
        same=_same(bare, words, index),
        damaged=_pieces(texts, index, DAMAGED), markup=_pieces(texts, index, _MARKUP),
        scripts=scripts, languages=languages,
        foreign=(*_strangers([script for script, _ in written], scripts, index), *_strangers(spoken, languages, index)),
        telling_words=() if given is None else _telling(words, given),
        boilerplate=_passages(texts, [words[place] for place in once.values()], list(once.values())),
    )  # fmt: skip
    if like is not None:
        new = Counter({word: count for word, count in found.items() if word not in like.words and word.isalpha()})
        known = tuple(
            (like.texts[text], int(row))
            for text, row, some in zip(bare, index, words, strict=True)
            if len(some) >= SEVERAL and text in like.texts
        )
        seen = replace(seen, new_words=tuple(new.most_common(NEW_WORDS)), known=known)
        seen = replace(seen, near_known=_near_known(like, [words[place] for place in own], index[own]))
    of_each = [int(row) for row in index[own]]
    return seen, Vocabulary(found, dict(zip(once, of_each, strict=True)), [words[place] for place in own], of_each)


def _near_known(like: Vocabulary, words: list[list[str]], index: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Texts of a second set that nearly are one of the first."""
    first = len(like.runs)
    pairs = near_copies([*like.runs, *words], first) if first else []
    rows = np.array([*like.rows, *index.tolist()], np.int64)
    return _latest(pairs, rows)


def _latest(pairs: Sequence[tuple[int, int]], rows: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """One pair for each later text, as rows."""
    of: dict[int, int] = {}
    for a, b in pairs:
        of.setdefault(b, a)
    return tuple((int(rows[a]), int(rows[b])) for b, a in sorted(of.items()))


def _tied(values: NDArray[np.float64], labels: Texts) -> tuple[tuple[str, float, float, int], ...]:
    """How well each property tells the label."""
    columns: dict[str, NDArray[np.float64] | Texts] = {name: values[:, i] for i, name in enumerate(PROPERTIES)}
    found = ties(Rows(np.arange(len(labels)), {"": labels, **columns}), "", "classification")
    return tuple((tie.column, tie.strength, tie.low, tie.rows) for tie in found)


def _properties(text: str, words: list[str], size: int, found: Mapping[str, int], own: int) -> tuple[float, ...]:
    """In the order of PROPERTIES. Words in no more texts than `own` are unknown: those of the text itself."""
    letters, count = max(1, len(text)), max(1, len(words))
    return (
        float(size), float(len(words)), sum(map(len, words)) / count, len(_UPPER.findall(text)) / letters,
        len(_DIGIT.findall(text)) / letters, len(_MARK.findall(text)) / letters,
        0.0 if text.isascii() else len(_FOREIGN_LETTER.findall(text)) / letters,
        1 - len(set(words)) / count if words else 0.0, sum(found.get(word, 0) <= own for word in words) / count,
    )  # fmt: skip


def _same(bare: list[str], words: list[list[str]], index: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for text, some, row in zip(bare, words, index, strict=True):
        if len(some) >= SEVERAL:
            groups[text].append(int(row))
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _pieces(texts: list[str], index: NDArray[np.int64], pattern: re.Pattern[str]) -> tuple[tuple[int, str], ...]:
    found = ((int(row), pattern.search(text)) for text, row in zip(texts, index, strict=True))
    return tuple((row, _around(match)) for row, match in found if match is not None)


def _around(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - 12) : match.end() + 12].strip()


def _shares(names: list[str]) -> tuple[tuple[str, float], ...]:
    counts = Counter(name for name in names if name)
    total = sum(counts.values())
    return tuple((name, count / total) for name, count in counts.most_common())


def _strangers(
    names: list[str], shares: tuple[tuple[str, float], ...], index: NDArray[np.int64]
) -> list[tuple[int, str]]:  # fmt: skip
    """Rows of scripts or languages that are rare, where one is frequent."""
    rare = {name for name, share in shares[1:] if share <= FEW}
    return [(int(row), name) for name, row in zip(names, index, strict=True) if name in rare][:MOST]


def _passages(texts: list[str], words: list[list[str]], places: list[int]) -> tuple[tuple[str, int], ...]:
    """Sentences or lines that stand in many different texts."""
    counts: Counter[str] = Counter()
    for place in places:
        counts.update({one.strip() for one in _SENTENCE.split(texts[place]) if len(one.strip()) >= PASSAGE})
    least = max(FEWEST, OFTEN * len(words))
    return tuple((one[:120], count) for one, count in counts.most_common(5) if count >= least)


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _telling(words: list[list[str]], labels: list[str]) -> tuple[tuple[str, str, float, int, float], ...]:
    """Words chosen on one half of the texts, and counted on the other."""
    classes = Counter(labels)
    if not 2 <= len(classes) <= MOST_CLASSES:
        return ()
    learns = np.random.default_rng(0).permutation(len(words)) % 2 == 0
    halves = []
    for half in (learns, ~learns):
        tables: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for place in np.flatnonzero(half):
            for word in set(words[place]):
                tables[word][labels[place]] += 1
        halves.append((tables, Counter(labels[place] for place in np.flatnonzero(half))))
    found = []
    for word, table in halves[0][0].items():
        label, count = table.most_common(1)[0]
        if not _gives_away(word, label, table, count, halves[0][1]):
            continue
        other = halves[1][0].get(word, Counter())
        if _gives_away(word, label, other, other[label], halves[1][1]):
            texts = sum(other.values())
            found.append((word, label, other[label] / texts, texts, other[label] / halves[1][1][label]))
    return tuple(sorted(found, key=lambda one: (-one[4], one[0]))[:10])


def _gives_away(word: str, label: str, table: Counter[str], count: int, classes: Counter[str]) -> bool:
    texts = sum(table.values())
    if texts < FEWEST or count < PURE * texts or classes[label] > 0.9 * sum(classes.values()):
        return False
    return count >= (NAMED if word == label.lower() else WIDESPREAD) * classes[label]
