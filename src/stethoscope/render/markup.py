"""HTML that is escaped unless it says that it is markup: forgetting to escape is not possible."""

from __future__ import annotations

import html
from collections.abc import Iterable

from stethoscope.core.text import clean

VOID = frozenset({"br", "meta", "link", "rect", "line", "path", "circle", "img"})
"""Elements without content."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def markup(text: str) -> Html:
    """The text as markup: escaped, unless it is markup."""
    return text if isinstance(text, Html) else Html(html.escape(clean(text), quote=True))


def tag(name: str, /, *children: str, **attributes: str | float | bool) -> Html:
    """An element. Attributes: `class_` is `class`, `_` becomes `-`, True stands alone, False is left out."""
    words = [name]
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(word)
        elif value is not False:
            words.append(f'{word}="{markup(str(value))}"')
    start = " ".join(words)
    if name in VOID:
        return Html(f"<{start}/>")
    return Html(f"<{start}>{joined(children)}</{name}>")


def joined(parts: Iterable[str], between: str = "") -> Html:
    """The parts one after the other."""
    return Html(markup(between).join(markup(part) for part in parts))
