"""Writes the fixes of findings into their files. Wires the rooms up, decides nothing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stethoscope.core.finding import Edit, Finding
from stethoscope.core.review import Review
from stethoscope.core.text import amount
from stethoscope.observe.code.notebook_rewriting import rewritten_notebook
from stethoscope.observe.code.reading import NOTEBOOK, Unreadable, decoded, read_bytes
from stethoscope.observe.code.rewriting import rewritten


@dataclass(frozen=True)
class Fixed:
    """A file as it was and as it should be."""

    path: Path
    before: bytes
    after: bytes
    count: int
    """Findings that are repaired by it."""

    def diff(self) -> str:
        """What changes, as `diff -u` shows it: lines end as they do in the file, so that it can be applied."""
        name = self.path.as_posix()
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(data: bytes) -> list[str]:
    """The lines with their ends, where only `\\n` ends one, as in a diff."""
    *whole, last = decoded(data).split("\n")
    return [f"{line}\n" for line in whole] + ([last] if last else [])


def fixes_of(review: Review, *, unsafe: bool = False) -> list[Fixed]:
    """What the files that were reviewed would be, with what can be repaired. Nothing is written.

    Args:
        review: of files that are on the disk.
        unsafe: also changes that move or add statements.
    """
    changes: dict[str, list[Sequence[Edit]]] = {file.file: [] for file in review.files}
    for finding in review.findings:
        edits = edits_of(finding, unsafe=unsafe)
        file = edits[0].place.file if edits else None
        if file in changes and all(edit.place.file == file for edit in edits):
            changes[file].append(edits)
    fixed = []
    for name, wanted in changes.items():
        if not wanted:
            continue
        try:
            before = read_bytes(Path(name))
        except Unreadable:
            continue
        after, count = (rewritten_notebook if name.endswith(NOTEBOOK) else rewritten)(before, wanted)
        if count:
            fixed.append(Fixed(Path(name), before, after, count))
    return fixed


def edits_of(finding: Finding, *, unsafe: bool) -> tuple[Edit, ...]:
    """The edits of the first fix that may be made."""
    return next((fix.edits for fix in finding.fixes if fix.edits and (fix.safe or unsafe)), ())


def write(files: Sequence[Fixed]) -> list[str]:
    """Write the files, and say of each what became of it."""
    said = []
    for one in files:
        try:
            one.path.write_bytes(one.after)
        except OSError as error:
            said.append(f"{one.path.as_posix()}: cannot be written: {(error.strerror or str(error)).lower()}")
        else:
            said.append(f"{one.path.as_posix()}: {amount(one.count, 'finding')} repaired")
    return said
