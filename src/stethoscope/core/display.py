"""How results show themselves in a notebook: they ask whoever was appointed, since this floor renders nothing."""

from __future__ import annotations

from collections.abc import Callable

Bundle = dict[str, str]
"""Kind of content (`text/plain`, `text/html`, `text/markdown`) to content."""

_renderers: list[Callable[[object], Bundle]] = []


def show_with(renderer: Callable[[object], Bundle]) -> None:
    """Let this make the bundles of everything that is shown from here on."""
    _renderers[:] = [renderer]


class Shown:
    """Something that notebooks show by more than its `repr`."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle | None:
        """What notebooks ask for; None lets them use the `repr`."""
        return _renderers[0](self) if _renderers else None

    def _mime_(self) -> tuple[str, str]:
        """What marimo asks for before all else: a kind and its content. Of a bundle it shows nothing where it edits."""
        bundle = self._repr_mimebundle_() or {"text/plain": repr(self)}
        kind = "text/html" if "text/html" in bundle else "text/plain"
        return kind, str(bundle[kind])
