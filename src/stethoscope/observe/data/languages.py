"""In which script, and in which language, a text is written: guessed, by its letters and its small words."""

from __future__ import annotations

import re
from collections.abc import Sequence

SCRIPTS = {
    "Latin": "A-Za-zÀ-ɏḀ-ỿ", "Cyrillic": "Ѐ-ԯ", "Greek": "Ͱ-Ͽ", "Arabic": "؀-ۿ", "Hebrew": "֐-׿",
    "Devanagari": "ऀ-ॿ", "Thai": "฀-๿", "Hangul": "가-힯", "Kana": "぀-ヿ", "Han": "一-鿿",
}  # fmt: skip
_SCRIPTS = {name: re.compile(f"[{letters}]") for name, letters in SCRIPTS.items()}
_ASCII_LETTER = re.compile("[A-Za-z]")

SMALL_WORDS = {
    "English": "the of and to in is that it was for on are as with his they at be this have from or had by not but "
    "what all were we when your can said there an which she do how their if will would so you i my me",
    "German": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus "
    "er hat dass sie nach wird bei einer um am sind noch wie einem über so ich wir aber nur oder",
    "French": "le la les de des et à en un une du est que qui dans pour pas au sur ne se ce il sont plus par je avec "
    "tout faire son mais nous comme ou si leur elle vous cette ces été être très",
    "Spanish": "el la los las de que y en un una ser se no por con su para como estar tener le lo todo pero más hacer "
    "o poder este ir otro ese si me ya ver porque dar cuando muy sin vez mucho es del al",
    "Italian": "il lo la gli le di che e un una in per con non si è da del della sono come ma anche dei nel alla più "
    "questo ha al ho lui io mi ci se o molto",
    "Portuguese": "o a os as de que e do da em um uma para é com não por mais dos como mas foi ao ele das tem à seu "
    "sua ou ser quando muito há nos já está eu também pelo pela até isso ela",
    "Dutch": "de het een en van ik te dat die in is niet op aan met voor zijn maar er om hem dan zou of wat mijn men "
    "dit zo door over ze zich bij ook tot je uit der haar naar",
}
_SMALL = {name: frozenset(words.split()) for name, words in SMALL_WORDS.items()}
FEWEST_WORDS = 8
MOST_WORDS = 100
"""That are looked at."""
LEAST = 0.15
"""Share of a language's small words among the words of a text: a third, in prose."""
FEWEST_SMALL = 3
"""Different ones of them: `ya`, `come` and `in da` are slang of one language and words of another."""
AHEAD = 1.5
"""Times the share of the second language."""


def script_of(text: str) -> str:
    """The script of most of its letters; empty without letters."""
    if text.isascii():
        return "Latin" if _ASCII_LETTER.search(text) else ""
    counts = {name: len(letters.findall(text)) for name, letters in _SCRIPTS.items()}
    if counts["Kana"]:
        counts["Kana"] += counts.pop("Han")
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else ""


def language_of(words: Sequence[str]) -> str:
    """The language of a text as lower-case words in Latin letters; empty where it is not clear."""
    if len(words) < FEWEST_WORDS:
        return ""
    words = words[:MOST_WORDS]
    shares = sorted(((sum(one in small for one in words) / len(words), name) for name, small in _SMALL.items()))
    (second, _), (first, best) = shares[-2:]
    told = len(set(words) & _SMALL[best]) >= FEWEST_SMALL
    return best if told and first >= LEAST and first >= AHEAD * second else ""
