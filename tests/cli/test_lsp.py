"""`stethoscope lsp`, as an editor starts it: a process that is talked to over standard input and output."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from linting_files import BAD

pytest.importorskip("pygls", reason="the language server is an extra")

from lsprotocol import types as t
from pygls.lsp.client import LanguageClient

SETUP, LOOP = BAD[: BAD.index("for x")], BAD[BAD.index("for x") :]
PATIENCE_S = 30


class Editor:
    """One that has a folder open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = LanguageClient("an editor", "1")
        self.shown: dict[str, list[t.Diagnostic]] = {}
        self.said: list[str] = []
        self.news = asyncio.Event()
        self.client.feature(t.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(self._show())
        self.client.feature(t.WINDOW_SHOW_MESSAGE)(lambda params: self.said.append(params.message))

    def _show(self) -> Callable[[t.PublishDiagnosticsParams], None]:
        def show(params: t.PublishDiagnosticsParams) -> None:
            self.shown[params.uri] = list(params.diagnostics)
            self.news.set()

        return show

    async def start(self, *options: str) -> t.InitializeResult:
        await self.client.start_io(sys.executable, "-m", "stethoscope", "lsp", *options)
        notebooks = t.NotebookDocumentClientCapabilities(t.NotebookDocumentSyncClientCapabilities())
        result = await self.client.initialize_async(
            t.InitializeParams(t.ClientCapabilities(notebook_document=notebooks), root_uri=self.folder.as_uri())
        )
        self.client.initialized(t.InitializedParams())
        return result

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    async def open(self, name: str, text: str) -> list[t.Diagnostic]:
        """Open a text, and what is shown of it."""
        item = t.TextDocumentItem(self.uri(name), "python", 1, text)
        return await self.after(
            lambda: self.client.text_document_did_open(t.DidOpenTextDocumentParams(item)), self.uri(name)
        )

    async def type(self, name: str, text: str, *at: int) -> list[t.Diagnostic]:
        """Replace a stretch (line, character, end line, end character) or all, and what is shown then."""
        whole = t.TextDocumentContentChangeWholeDocument(text)
        change = t.TextDocumentContentChangePartial(span(*at), text) if at else whole
        named = t.VersionedTextDocumentIdentifier(2, self.uri(name))
        params = t.DidChangeTextDocumentParams(named, [change])
        return await self.after(lambda: self.client.text_document_did_change(params), self.uri(name))

    async def after(self, act: Callable[[], None], uri: str) -> list[t.Diagnostic]:
        self.shown.pop(uri, None)
        act()
        while uri not in self.shown:
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), PATIENCE_S)
        return self.shown[uri]

    async def actions(self, uri: str, line: int, character: int) -> dict[str, list[t.TextEdit]]:
        """Title to edits."""
        params = t.CodeActionParams(
            t.TextDocumentIdentifier(uri), span(line, character, line, character), t.CodeActionContext([])
        )
        found = await self.client.text_document_code_action_async(params) or []
        return {one.title: list(one.edit.changes[uri]) for one in found}  # type: ignore[union-attr, index]

    async def hover(self, name: str, line: int, character: int) -> str:
        params = t.HoverParams(t.TextDocumentIdentifier(self.uri(name)), t.Position(line, character))
        page = await self.client.text_document_hover_async(params)
        return page.contents.value if page is not None else ""  # type: ignore[union-attr]

    async def leave(self) -> None:
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await self.client.stop()


def span(line: int, character: int, end_line: int, end_character: int) -> t.Range:
    return t.Range(t.Position(line, character), t.Position(end_line, end_character))


def edit(folder: Path, what: Callable[[Editor], Awaitable[Any]], *options: str) -> t.InitializeResult:
    """Do something in an editor."""

    async def all_of_it() -> t.InitializeResult:
        editor = Editor(folder)
        result = await editor.start(*options)
        try:
            await what(editor)
        finally:
            await editor.leave()
        return result

    return asyncio.run(asyncio.wait_for(all_of_it(), 2 * PATIENCE_S))


def rules(diagnostics: list[t.Diagnostic]) -> list[tuple[str, int]]:
    """Rule and line, counted from 0."""
    return [(str(one.code), one.range.start.line) for one in diagnostics]


def applied(text: str, edits: list[t.TextEdit]) -> str:
    """A text with edits of single lines."""
    lines = text.split("\n")
    for one in edits:
        line = lines[one.range.start.line]
        assert one.range.start.line == one.range.end.line
        lines[one.range.start.line] = (
            line[: one.range.start.character] + one.new_text + line[one.range.end.character :]
        )  # fmt: skip
    return "\n".join(lines)


def test_what_is_wrong_is_shown_and_goes_when_it_is_repaired_in_the_editor(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("# on the disk stands something else\n")

    async def do(editor: Editor) -> None:
        (shown,) = await editor.open("train.py", BAD)
        assert (shown.code, shown.source, shown.severity) == (
            "missing-zero-grad", "stethoscope", t.DiagnosticSeverity.Error,
        )  # fmt: skip
        assert shown.range == span(7, 4, 7, 20)
        assert shown.message.startswith("`optimizer` steps in a loop that never clears gradients\n")
        assert [one.location.range.start.line for one in shown.related_information or ()] == [7, 6]
        assert await editor.type("train.py", "    optimizer.zero_grad()\n", 8, 0, 8, 0) == []
        assert rules(await editor.type("train.py", "", 8, 0, 9, 0)) == [("missing-zero-grad", 7)]

    edit(tmp_path, do)


def test_hovering_shows_the_page_of_the_rule(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        await editor.open("train.py", BAD)
        page = await editor.hover("train.py", 7, 10)
        assert "error: `optimizer` steps in a loop" in page
        assert "## When it is not a fault" in page
        assert ".md)" not in page
        assert await editor.hover("train.py", 0, 1) == ""

    edit(tmp_path, do)


def test_repairs_are_quick_fixes_and_an_unsafe_one_says_so(tmp_path: Path) -> None:
    text = BAD + "model.eval\n"

    async def do(editor: Editor) -> None:
        uri = editor.uri("train.py")
        await editor.open("train.py", text)
        safe = await editor.actions(uri, 8, 2)
        assert list(safe) == ["Call it: model.eval()", "Allow call-forgotten here: write the reason behind `--`"]
        assert applied(text, safe["Call it: model.eval()"]) == text.replace("eval\n", "eval()\n")
        title, _ = unsafe = await editor.actions(uri, 7, 6)
        assert title.endswith("optimizer.zero_grad() (unsafe: look at what it changes)")
        assert await editor.type("train.py", applied(text, unsafe[title]) + "\n") != []
        assert await editor.actions(uri, 7, 6) == {}

    edit(tmp_path, do)


def test_a_finding_can_be_allowed_and_stays_until_a_reason_is_written(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        await editor.open("train.py", BAD)
        actions = await editor.actions(editor.uri("train.py"), 7, 4)
        text = applied(BAD, actions["Allow missing-zero-grad here: write the reason behind `--`"])
        assert text.splitlines()[7] == "    optimizer.step()  # stethoscope: allow missing-zero-grad -- "
        assert len(await editor.type("train.py", text)) == 1
        assert await editor.type("train.py", text.replace(" -- ", " -- summed on purpose")) == []

    edit(tmp_path, do)


def test_half_a_line_costs_nothing_and_what_was_shown_stays_meanwhile(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        uri = editor.uri("train.py")
        await editor.open("train.py", BAD)
        editor.shown.clear()
        editor.client.text_document_did_change(
            t.DidChangeTextDocumentParams(
                t.VersionedTextDocumentIdentifier(2, uri), [t.TextDocumentContentChangeWholeDocument(BAD + "x = (")]
            )
        )
        await asyncio.sleep(1.0)
        assert editor.shown == {}
        assert await editor.actions(uri, 7, 6) == {}  # places of another text
        assert len(await editor.type("train.py", BAD + "x = ()\n")) == 1

    edit(tmp_path, do)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(BAD.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(BAD.replace("import torch\n", "import torch\x0c  # \u2028 \x85\n", 1), id="other line ends"),
        pytest.param("# coding: latin-1\n" + BAD.replace("import torch\n", "", 1).replace("nn", "nn  # é", 1)
                     .replace("from torch", "import torch; from torch"), id="latin-1"),
    ],
)  # fmt: skip
def test_lines_are_counted_as_editors_count_them(tmp_path: Path, text: str) -> None:
    async def do(editor: Editor) -> None:
        assert rules(await editor.open("train.py", text)) == [("missing-zero-grad", 7)]
        *_, (allowed,) = (await editor.actions(editor.uri("train.py"), 7, 6)).values()
        assert (allowed.range, allowed.new_text[:3]) == (span(7, 20, 7, 20), "  #")
        assert await editor.type("train.py", "    optimizer.zero_grad()\n", 8, 0, 8, 0) == []

    edit(tmp_path, do)


def test_characters_are_counted_as_the_editor_counts_them(tmp_path: Path) -> None:
    text = BAD.replace("    optimizer.step()", '    "\U0001f642é"; optimizer.step()')

    async def do(editor: Editor) -> None:
        (shown,) = await editor.open("train.py", text)
        assert shown.range == span(7, 11, 7, 27)

    edit(tmp_path, do)


def test_a_notebook_is_one_program_and_each_cell_shows_its_own(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        client, uri = editor.client, editor.uri("nb.ipynb")
        texts = {"a": "# Title", "b": "%matplotlib inline\n" + SETUP, "c": "for i in 1; do", "d": LOOP}
        languages = {"a": "markdown", "c": "shellscript"}
        cells = [
            t.NotebookCell(t.NotebookCellKind.Markup if one == "a" else t.NotebookCellKind.Code, f"{uri}#{one}")
            for one in texts
        ]
        items = [t.TextDocumentItem(f"{uri}#{n}", languages.get(n, "python"), 1, text) for n, text in texts.items()]
        opened = t.DidOpenNotebookDocumentParams(t.NotebookDocument(uri, "jupyter-notebook", 1, cells), items)

        shown = await editor.after(lambda: client.notebook_document_did_open(opened), f"{uri}#d")

        assert rules(shown) == [("missing-zero-grad", 2)]
        assert editor.shown[f"{uri}#b"] == []
        actions = await editor.actions(f"{uri}#d", 2, 6)
        assert len(actions) == 2
        repair = next(iter(actions.values()))
        change = t.NotebookDocumentCellContentChanges(
            t.VersionedTextDocumentIdentifier(2, f"{uri}#d"),
            [t.TextDocumentContentChangePartial(repair[0].range, repair[0].new_text)],
        )
        changed = t.DidChangeNotebookDocumentParams(
            t.VersionedNotebookDocumentIdentifier(2, uri),
            t.NotebookDocumentChangeEvent(cells=t.NotebookDocumentCellChanges(text_content=[change])),
        )
        assert await editor.after(lambda: client.notebook_document_did_change(changed), f"{uri}#d") == []

    result = edit(tmp_path, do)
    assert result.capabilities.notebook_document_sync is not None


def test_settings_are_those_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.stethoscope.lint]\nexclude = ["old"]\n')
    (tmp_path / "tests").mkdir()

    async def do(editor: Editor) -> None:
        assert await editor.open("old/train.py", BAD) == []
        assert await editor.open("tests/train.py", BAD) == []  # only possible there
        assert len(await editor.open("train.py", BAD)) == 1
        (tmp_path / "pyproject.toml").write_text("[tool.stethoscope\n")
        assert len(await editor.type("train.py", BAD + "\n")) == 1
        assert "pyproject.toml is not valid TOML" in editor.said[0]
        (tmp_path / "pyproject.toml").write_text('[tool.stethoscope]\nwithout = ["missing-zero-grad"]\n')
        saved = t.DidSaveTextDocumentParams(t.TextDocumentIdentifier(editor.uri("pyproject.toml")))
        assert await editor.after(lambda: editor.client.text_document_did_save(saved), editor.uri("train.py")) == []

    edit(tmp_path, do)


def test_what_is_only_possible_is_shown_mildly_when_asked_for(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        (shown,) = await editor.open("tests/train.py", BAD)
        assert shown.severity == t.DiagnosticSeverity.Information

    edit(tmp_path, do, "--all")


def test_what_a_file_imports_is_read_and_a_save_of_it_reviews_the_file_again(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("def clear(o):\n    o.zero_grad()\n")
    text = BAD.replace("import torch\n", "import torch\nfrom steps import clear\n", 1) + "    clear(optimizer)\n"

    async def do(editor: Editor) -> None:
        assert await editor.open("train.py", text) == []
        (tmp_path / "steps.py").write_text("def clear(o):\n    o.zero_grad\n")
        saved = t.DidSaveTextDocumentParams(t.TextDocumentIdentifier(editor.uri("steps.py")))
        shown = await editor.after(lambda: editor.client.text_document_did_save(saved), editor.uri("train.py"))
        assert rules(shown) == [("missing-zero-grad", 8)]

    edit(tmp_path, do)


def test_a_closed_text_shows_nothing_any_more(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        uri = editor.uri("train.py")
        await editor.open("train.py", BAD)
        closed = t.DidCloseTextDocumentParams(t.TextDocumentIdentifier(uri))
        assert await editor.after(lambda: editor.client.text_document_did_close(closed), uri) == []

    edit(tmp_path, do)


def test_a_text_that_was_never_saved_is_reviewed(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        item = t.TextDocumentItem("untitled:Untitled-1", "python", 1, BAD)
        opened = t.DidOpenTextDocumentParams(item)
        shown = await editor.after(lambda: editor.client.text_document_did_open(opened), "untitled:Untitled-1")
        assert len(shown) == 1

    edit(tmp_path, do)


def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['pygls'] = None; from stethoscope.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "lsp"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr == "stethoscope: the language server needs pygls: pip install 'stethoscope[lsp]'\n"


def test_it_ends_when_the_editor_is_gone() -> None:
    command = [sys.executable, "-m", "stethoscope", "lsp", "--stdio"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
