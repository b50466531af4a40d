"""The files of a project that one file imports: each is read when somebody first asks for what it defines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from stethoscope.facts.code import Code


_COMMENT = re.compile("#[^\\n]*")


class Import(NamedTuple):
    """An import of a module, or from one."""

    module: str
    dots: int
    """How many stand before the name."""
    names: tuple[str, ...]
    """What is taken from it."""


class Linked(Mapping[str, "Code"]):
    """Files of the same project by module name, one level deep.

    To parse what a file imports takes longer than to parse the file, and most of it is never asked for: whether a word
    stands in it is answered from its text.
    """

    def __init__(
        self,
        modules: Iterable[str] = (),
        read: Callable[[str], Code | None] = lambda module: None,
        text: Callable[[str, tuple[str, ...]], str] = lambda module, words: "",
        handed_on: Mapping[str, str] | None = None,
        whole: Callable[[tuple[str, ...]], str | None] = lambda words: "",
        lost: Callable[[Iterable[Import]], str] = lambda imports: "",
        brought: Callable[[Iterable[Import]], frozenset[str] | None] = lambda stars: None,
        further: Callable[[str], Code | None] = lambda module: None,
    ) -> None:
        """`read` makes the facts of a module, None where it has none; `text` its text without comments, which may be
        left out where none of the words stands in it; `handed_on` has, for names that a package only hands on, those
        under which they are defined; `whole` gives the texts of all other files of the project in which any of these
        words stands, None where it has too many files; `lost` what of the project such imports of the file look for in
        vain, in what they run, too; `brought` the names that these `import *` may bring, None where that may be any;
        `further` the facts of a module with what it imports itself.
        """
        self._modules = dict.fromkeys(modules)
        self._read_module, self._text_of, self._whole = read, text, whole
        self._handed_on = handed_on or {}
        self.lost, self.brought = lost, brought
        self._read_further = further
        self._named = frozenset(self._modules) if handed_on else frozenset()
        self._read: dict[str, Code] = {}

    @classmethod
    def of(cls, codes: Mapping[str, Code]) -> Linked:
        """Files that are read already."""
        linked = cls(
            codes,
            codes.get,
            lambda module, words: codes[module].uncommented(),
            whole=lambda words: "\n".join(code.uncommented() for code in codes.values()),
        )
        linked._read.update(codes)
        return linked

    def __getitem__(self, module: str) -> Code:
        if module in self._read:
            return self._read[module]
        if module not in self._modules:
            raise KeyError(module)
        code = self._read_module(module)
        if code is None:
            del self._modules[module]
            raise KeyError(module)
        self._read[module] = code
        return code

    def get(self, module: str, default: Code | None = None) -> Code | None:  # type: ignore[override]
        """The facts of a module, where it is one of these: asked for each part of each name, so it raises nothing."""
        return self[module] if module in self._modules and module in self else default

    def __contains__(self, module: object) -> bool:
        try:
            self[str(module)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return (module for module in list(self._modules) if module in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def real(self, name: str) -> str:
        """The full name under which something is defined that a package may only hand on."""
        first, rest = name, ""
        while first and self._handed_on and not (rest and first in self._named):
            if first in self._handed_on:
                return self._handed_on[first] + rest
            first, _, last = first.rpartition(".")
            rest = f".{last}{rest}"
        return name

    def already_read(self) -> Iterator[Code]:
        """Those that were asked for: whatever is told of another file comes from one of them."""
        return iter(self._read.values())

    def further(self, code: Code) -> Code:
        """One of these with the files that it imports itself, where these can be told; its numbers are the same."""
        module = next((name for name, one in self._read.items() if one is code), None)
        return (None if module is None else self._read_further(module)) or code

    def saying(self, *words: str) -> Iterator[Code]:
        """Those in which any of these words stands, outside of comments."""
        for module in list(self._modules):
            text = self._text_of(module, words)
            if any(word in text for word in words) and module in self:
                yield self._read[module]

    def say(self, *words: str) -> bool:
        """Whether any of these words stands in any of them, outside of comments."""
        texts = (self._text_of(module, words) for module in self._modules)
        return any(word in text for text in texts for word in words)

    def anywhere(self, *words: str) -> str | None:
        """The texts of all other files of the project, also of those that are not imported, in which any of these words
        stands, without comments; None where they are too many to be looked through. It takes long.
        """
        return self._whole(words)

    def match(self, pattern: re.Pattern[str], *words: str) -> bool:
        """Whether a pattern is found in any of them, outside of comments; all that it finds has one of the words in it,
        where some are given.
        """
        texts = (self._text_of(module, words) for module in self._modules)
        return any(pattern.search(text) for text in texts if not words or any(word in text for word in words))


def uncommented(lines: Iterable[str]) -> str:
    """The text without comments, and without what stands behind a `#` in a string."""
    return _COMMENT.sub("", "\n".join(lines))
