"""The language server: reviews what an editor has open, as it is there and not as it is on the disk.

Findings are sent when a text is opened, changed (after a pause) or saved. Hovering over one shows its rule's page, and
its repairs are quick fixes. `stethoscope.adapters.in_editor` says what is shown; here it is put into the protocol.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from stethoscope import __version__
from stethoscope.adapters.in_editor import actions_for, is_shown_mildly, message_of, notebook_of, page_of
from stethoscope.adapters.joined_cells import cells_at, first_lines, in_the_whole
from stethoscope.core.errors import MissingPiece, StethoscopeError
from stethoscope.core.finding import Edit, Finding, Place, Severity
from stethoscope.core.review import Review
from stethoscope.core.settings import Settings, read_settings
from stethoscope.observe.code.reading import NOTEBOOK, bytes_of

try:
    from lsprotocol import types
    from pygls.lsp.server import LanguageServer
    from pygls.uris import from_fs_path, to_fs_path
    from pygls.workspace import TextDocument
except ImportError as error:
    raise MissingPiece("the language server needs pygls: pip install 'stethoscope[lsp]'") from error

PAUSE_S = 0.3
"""After the last key stroke, before a text is reviewed."""
JOINED = ".virtual_documents"
"""The folder in which jupyter-lsp has its copies of what is open, each at its place below the project's top."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def _lines(document: Any) -> tuple[str, ...]:
    """As the protocol counts lines. pygls ends them at form feeds and the like, too, and all below would be moved."""
    return tuple(_LINE.findall(document.source))


@dataclass
class _Judged:
    """What was found in a text, and the texts in which it was found: places in others would be wrong."""

    texts: dict[int | None, tuple[str, str]]
    """Cell number, None of a file, to its URI and text."""
    findings: tuple[Finding, ...]


def serve(*, possible: bool = False, notes: bool = False) -> None:
    """Talk to an editor over standard input and output, until it says that it is done.

    Args:
        possible: also show what is only possible.
        notes: also show what is only worth knowing.
    """
    # A request that is cancelled when its answer is on its way is no trouble, and happens with each key stroke.
    logging.getLogger("pygls").setLevel(logging.ERROR)
    # The whole server reads lines this way; there is no other hook for it.
    setattr(TextDocument, "lines", property(_lines))  # noqa: B010
    _Editor(possible, notes).server.start_io()


class _Editor:
    """What one editor has open."""

    def __init__(self, possible: bool, notes: bool) -> None:
        self._possible = possible
        self._notes = notes
        self._judged: dict[str, _Judged] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._complaint = ""
        every_cell = types.NotebookDocumentFilterWithNotebook(
            notebook=types.NotebookDocumentFilterNotebookType(notebook_type="jupyter-notebook")
        )
        self.server = LanguageServer(
            "stethoscope",
            __version__,
            notebook_document_sync=types.NotebookDocumentSyncOptions(notebook_selector=[every_cell], save=True),
        )
        repairs = types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])
        features: list[tuple[str, Callable[..., Any], Any]] = [
            (types.INITIALIZED, self._started, None),
            (types.TEXT_DOCUMENT_DID_OPEN, self._opened, None),
            (types.TEXT_DOCUMENT_DID_CHANGE, self._changed, None),
            (types.TEXT_DOCUMENT_DID_SAVE, self._saved, None),
            (types.TEXT_DOCUMENT_DID_CLOSE, self._closed, None),
            (types.NOTEBOOK_DOCUMENT_DID_OPEN, self._opened, None),
            (types.NOTEBOOK_DOCUMENT_DID_CHANGE, self._changed, None),
            (types.NOTEBOOK_DOCUMENT_DID_SAVE, self._saved, None),
            (types.NOTEBOOK_DOCUMENT_DID_CLOSE, self._closed, None),
            (types.WORKSPACE_DID_CHANGE_CONFIGURATION, _nothing, None),
            (types.TEXT_DOCUMENT_HOVER, self._hover, None),
            (types.TEXT_DOCUMENT_CODE_ACTION, self._actions, repairs),
        ]
        for name, function, options in features:
            self.server.feature(name, options)(_plain(function))

    def _started(self, params: Any) -> None:
        """Paths are named from the project's top, as they are on the command line."""
        folders = list(self.server.workspace.folders) or [self.server.workspace.root_uri or ""]
        top = _unjoined(to_fs_path(folders[0]) if folders[0] else None)
        if top and os.path.isdir(top):
            os.chdir(top)

    async def _opened(self, params: Any) -> None:
        await self._review(_uri(params), is_told=True)

    async def _changed(self, params: Any) -> None:
        uri = _uri(params)
        if uri in self._waiting:
            self._waiting.pop(uri).cancel()
        self._waiting[uri] = asyncio.ensure_future(self._after_a_pause(uri))

    async def _after_a_pause(self, uri: str) -> None:
        await asyncio.sleep(PAUSE_S)
        self._waiting.pop(uri, None)
        await self._review(uri)

    async def _saved(self, params: Any) -> None:
        """The others, too: they may import this file, or it may be the settings."""
        uri = _uri(params)
        for other in [uri, *(one for one in self._judged if one != uri)]:
            await self._review(other, is_told=other == uri)

    async def _closed(self, params: Any) -> None:
        uri = _uri(params)
        if uri in self._waiting:
            self._waiting.pop(uri).cancel()
        judged = self._judged.pop(uri, None)
        for home, _ in judged.texts.values() if judged else ():
            self._show(home, [])

    async def _review(self, uri: str, *, is_told: bool = False) -> None:
        """Review a text and send what was found. Where it has no grammar for now, what was sent before stays; where
        nothing was, it may be told that nothing is known: an empty list would look as if nothing were wrong.
        """
        texts = self._texts(uri)
        if not texts:
            return
        complaints: list[str] = []
        found = await asyncio.to_thread(self._found, uri, texts, complaints)
        for sentence in complaints:
            self._complain(sentence)
        old = self._judged.get(uri)
        why_not = found if isinstance(found, str) else ""
        if why_not and (not is_told or (old is not None and old.findings)):
            return
        if self._texts(uri) != texts:
            return  # changed meanwhile: the next review is on its way
        judged = _Judged(texts, () if isinstance(found, str) else found)
        self._judged[uri] = judged
        gone = {home for home, _ in old.texts.values()} - {home for home, _ in texts.values()} if old else set()
        for home in gone:
            self._show(home, [])
        for cell, (home, _) in texts.items():
            here = [one for one in judged.findings if one.place.cell == cell]
            unread = [_not_analysed(why_not)] if why_not and cell == min(texts, key=lambda number: number or 0) else []
            self._show(home, unread or [self._diagnostic(one, judged) for one in here])

    def _found(
        self, uri: str, texts: dict[int | None, tuple[str, str]], complaints: list[str]
    ) -> tuple[Finding, ...] | str:
        """What is found in a text; why, where it cannot be read. What is wrong with the settings is added."""
        from stethoscope.linting import lint_text

        _stand_somewhere(uri)
        file = _name(uri)
        lines = _plain_lines(texts[None][1]) if None in texts else []
        starts = first_lines(lines) if file.endswith(NOTEBOOK) else ()
        if None in texts and starts is None:
            return "does not parse"
        if None in texts and starts:
            data = notebook_of([(True, cell) for cell in cells_at(lines, starts)])
        elif None in texts:
            data = bytes_of(texts[None][1])
        else:
            last = max(number for number in texts if number is not None)
            data = notebook_of([(number in texts, texts[number][1] if number in texts else "")
                                for number in range(1, last + 1)])  # fmt: skip
        try:
            settings = read_settings(Path(_path(uri)).absolute().parent)
        except StethoscopeError as error:  # a pyproject.toml in the middle of an edit
            complaints.append(str(error))
            settings = Settings()
        try:
            review: Review = lint_text(data, file, possible=self._possible, notes=self._notes, settings=settings)
        except StethoscopeError as error:  # a rule's name in the settings that there is not
            complaints.append(str(error))
            return ()
        if review.not_analysed:
            return review.not_analysed[0].why_not
        here = (one for one in review.findings if one.place.file == file)
        return tuple(in_the_whole(one, lines, starts) if None in texts and starts else one for one in here)

    def _complain(self, sentence: str) -> None:
        """Once, until there is something else to say."""
        if sentence != self._complaint:
            self._complaint = sentence
            words = types.ShowMessageParams(types.MessageType.Warning, f"stethoscope: {sentence}")
            self.server.window_show_message(words)

    def _texts(self, uri: str) -> dict[int | None, tuple[str, str]]:
        """What is open: of a file its text, of a notebook its Python cells by number."""
        workspace = self.server.workspace
        notebook = workspace.get_notebook_document(notebook_uri=uri)
        if notebook is not None:
            cells = [workspace.text_documents.get(unquote(cell.document)) for cell in notebook.cells]
            return {
                number: (cell.uri, cell.source)
                for number, cell in enumerate(cells, start=1)
                if cell is not None and cell.language_id == "python"
            }
        document = workspace.text_documents.get(unquote(uri))
        if document is None or _path(uri).endswith(".toml"):
            return {}
        is_file = document.source.lstrip().startswith("{") or document.language_id != "python"
        if _path(uri).endswith(NOTEBOOK) and is_file:
            return {}  # its JSON; what JupyterLab sends under that name are its cells, as one text
        return {None: (document.uri, document.source)}

    def _show(self, uri: str, diagnostics: Sequence[Any]) -> None:
        self.server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, list(diagnostics)))

    def _diagnostic(self, finding: Finding, judged: _Judged) -> Any:
        severity = _severities()[finding.severity]
        if is_shown_mildly(finding):
            severity = types.DiagnosticSeverity.Information
        related = [
            types.DiagnosticRelatedInformation(types.Location(home, self._range(link.place, home)), link.words)
            for link in finding.chain
            if (home := self._home(link.place, finding, judged))
        ]
        return types.Diagnostic(
            range=self._range(finding.place, judged.texts[finding.place.cell][0]),
            message=message_of(finding),
            severity=severity,
            code=finding.rule,
            source="stethoscope",
            related_information=related,
        )

    def _home(self, place: Place, finding: Finding, judged: _Judged) -> str:
        """The URI of the text in which a place is."""
        if place.file == finding.place.file:
            return judged.texts[place.cell][0] if place.cell in judged.texts else ""
        return from_fs_path(os.path.abspath(place.file)) or "" if place.file else ""

    def _range(self, place: Place, uri: str) -> Any:
        """A place as the editor counts: from 0, in the units on which both have agreed."""
        line, end_line = (place.line or 1) - 1, (place.end_line or place.line or 1) - 1
        column, end_column = (place.column or 1) - 1, (place.end_column or place.column or 1) - 1
        span = types.Range(types.Position(line, column), types.Position(end_line, end_column))
        document = self.server.workspace.text_documents.get(unquote(uri))
        if document is None:
            return span
        start = document.position_codec.position_to_client_units(document.lines, span.start)
        end = document.position_codec.position_to_client_units(document.lines, span.end)
        return types.Range(start, end)

    def _at(self, uri: str, span: Any) -> Iterator[tuple[Finding, _Judged]]:
        """The findings that touch a stretch of a text, where it is still the text in which they were found."""
        notebook = self.server.workspace.get_notebook_document(cell_uri=uri)
        home = notebook.uri if notebook is not None else uri
        judged = self._judged.get(home)
        if judged is None or judged.texts != self._texts(home):
            return
        for finding in judged.findings:
            if unquote(judged.texts[finding.place.cell][0]) == unquote(uri):
                place = self._range(finding.place, uri)
                if _before(place.start, span.end) and _before(span.start, place.end):
                    yield finding, judged

    def _hover(self, params: Any) -> Any:
        at = types.Range(params.position, params.position)
        pages = [page_of(finding) for finding, _ in self._at(params.text_document.uri, at)]
        if not pages:
            return None
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, "\n\n---\n\n".join(dict.fromkeys(pages))))

    def _actions(self, params: Any) -> list[Any]:
        uri = params.text_document.uri
        return [
            types.CodeAction(
                title=action.title,
                kind=types.CodeActionKind.QuickFix,
                diagnostics=[self._diagnostic(finding, judged)],
                is_preferred=action.is_safe,
                edit=types.WorkspaceEdit(changes={uri: [self._edit(edit, uri) for edit in action.edits]}),
            )
            for finding, judged in self._at(uri, params.range)
            for action in actions_for(finding, _plain_lines(judged.texts[finding.place.cell][1]))
        ]

    def _edit(self, edit: Edit, uri: str) -> Any:
        return types.TextEdit(self._range(edit.place, uri), edit.text)


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """A function of its own for each feature: pygls writes on what it registers, and a method cannot be written on."""
    if asyncio.iscoroutinefunction(method):

        async def later(params: Any) -> Any:
            return await method(params)

        return later

    def now(params: Any) -> Any:
        return method(params)

    return now


def _nothing(params: Any) -> None:
    """Editors send their settings unasked; ours are those of the project."""


def _plain_lines(text: str) -> list[str]:
    return [line.rstrip("\r\n") for line in _LINE.findall(text)]


def _uri(params: Any) -> str:
    document = params.notebook_document if hasattr(params, "notebook_document") else params.text_document
    return str(document.uri)


def _path(uri: str) -> str:
    """The path of a text on the disk; of one that was never saved, its name."""
    return _unjoined(to_fs_path(uri)) or unquote(uri).rpartition(":")[2].strip("/") or "untitled"


def _unjoined(path: str | None) -> str | None:
    """Where a notebook itself is, of the path of its copy; JupyterLab empties and removes the folder of the copies."""
    if path and JOINED in Path(path).parts:
        return str(Path(*(part for part in Path(path).parts if part != JOINED)))
    return path


def _stand_somewhere(uri: str) -> None:
    """The folder that is open may have been removed: no path can be told then."""
    try:
        os.getcwd()
    except OSError:
        above = (folder for folder in Path(_path(uri)).parents if folder.is_absolute() and folder.is_dir())
        os.chdir(next(above, Path.home()))


def _name(uri: str) -> str:
    """The path from the project's top, where it lies below it."""
    path = Path(_path(uri))
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


def _not_analysed(why: str) -> Any:
    """Said at the line that cannot be read, where the reason names one."""
    named = re.search(r"at line (\d+)", why)
    line = int(named[1]) - 1 if named else 0
    return types.Diagnostic(
        range=types.Range(types.Position(line, 0), types.Position(line + 1, 0)),
        message=f"not analysed: it {why}",
        severity=types.DiagnosticSeverity.Information,
        source="stethoscope",
    )


def _before(one: Any, other: Any) -> bool:
    return (one.line, one.character) <= (other.line, other.character)


@cache
def _severities() -> dict[Severity, Any]:
    kinds = types.DiagnosticSeverity
    return {Severity.ERROR: kinds.Error, Severity.WARNING: kinds.Warning, Severity.NOTE: kinds.Information}
