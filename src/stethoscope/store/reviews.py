"""What came of files that were read before, so that unchanged ones are not read again."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stethoscope.core.errors import StethoscopeError
from stethoscope.core.review import FileReview
from stethoscope.store.packing import pack, unpack


@dataclass(frozen=True)
class Kept:
    """A review, and of what."""

    content: str
    """Hash of the file."""
    uses: Mapping[str, str]
    """Files that it imports from its project, with their hashes: the review depends on them."""
    review: FileReview


class KeptReviews:
    """A file of reviews. One that cannot be read, or answers another question, counts as empty."""

    def __init__(self, path: Path, question: str) -> None:
        """`question` changes when the same file may be judged otherwise."""
        self._path = path
        self._question = question
        self._entries: dict[str, object] = {}
        self._changed = False
        with contextlib.suppress(OSError, ValueError, AttributeError):
            document = json.loads(path.read_text("utf-8"))
            if document["question"] == question:
                self._entries = document["files"]

    def get(self, file: str) -> Kept | None:
        """What is known of a file."""
        entry = self._entries.get(file)
        if not isinstance(entry, dict):
            return None
        try:
            return unpack(Kept, entry)
        except (StethoscopeError, TypeError, ValueError, KeyError):
            return None

    def keep(self, file: str, entry: Kept) -> None:
        """Remember what came of a file."""
        self._entries[file] = pack(entry)
        self._changed = True

    def save(self) -> None:
        """Write what is new; where that fails the next time takes as long as this one."""
        if not self._changed:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            ignore = self._path.parent / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", "utf-8")
            draft = self._path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps({"question": self._question, "files": self._entries}), "utf-8")
            os.replace(draft, self._path)
