"""`stethoscope lsp` and what real editors send it: seen in VS Code, Neovim and JupyterLab, and kept here."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from linting_files import BAD

pytest.importorskip("pygls", reason="the language server is an extra")

from lsprotocol import types as t
from test_lsp import LOOP, PATIENCE_S, SETUP, Editor, edit, rules

JOINED = ".virtual_documents/drafts/nb.ipynb"


def joined(*cells: str) -> str:
    """As JupyterLab sends a notebook whose first cell is a heading."""
    return "\n\n\n" + "\n\n\n".join(cell.rstrip("\n") for cell in cells) + "\n"


def test_a_notebook_whose_cells_come_as_one_text_is_reviewed(tmp_path: Path) -> None:
    text = joined(SETUP, LOOP)

    async def do(editor: Editor) -> None:
        (shown,) = await editor.open(JOINED, text)
        line = text.split("\n").index("    optimizer.step()")
        assert (shown.code, shown.range.start.line) == ("missing-zero-grad", line)
        assert [one.location.range.start.line for one in shown.related_information or ()] == [line, line - 1]
        assert {one.location.uri for one in shown.related_information or ()} == {editor.uri(JOINED)}
        ((repair, *_), (allowed,)) = (await editor.actions(editor.uri(JOINED), line, 6)).values()
        assert allowed.range.start.line == line
        page = await editor.hover(JOINED, line, 6)
        assert f"in the loop at `{LOOP.splitlines()[0]}`" in page
        assert "cell " not in page.partition("---")[0]
        at = repair.range.start, repair.range.end
        assert at[0].line == line
        place = (at[0].line, at[0].character, at[1].line, at[1].character)
        assert await editor.type(JOINED, repair.new_text, *place) == []

    edit(tmp_path, do)


def test_of_joined_cells_the_last_line_of_each_is_displayed_and_not_dropped(tmp_path: Path) -> None:
    head = "import torch\nfrom torch import nn\nnet = nn.Linear(3, 3)\nx = torch.zeros(4, 3)\n"
    last = "print(net(x).softmax(1))"

    async def do(editor: Editor) -> None:
        assert rules(await editor.open(JOINED, joined(head + "x.clamp(0, 1)", last))) == []
        together = joined(f"{head}x.clamp(0, 1)\n{last}")
        assert rules(await editor.type(JOINED, together)) == [("result-dropped", 7)]

    edit(tmp_path, do, "--all")


def test_half_a_line_in_joined_cells_costs_nothing(tmp_path: Path) -> None:
    async def do(editor: Editor) -> None:
        await editor.open(JOINED, joined(SETUP, LOOP))
        editor.shown.clear()
        named = t.VersionedTextDocumentIdentifier(2, editor.uri(JOINED))
        change = t.TextDocumentContentChangeWholeDocument(joined(SETUP, "x = (", LOOP))
        editor.client.text_document_did_change(t.DidChangeTextDocumentParams(named, [change]))
        await asyncio.sleep(1.0)
        assert editor.shown == {}

    edit(tmp_path, do)


def test_settings_fit_joined_cells_by_the_notebooks_own_path(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.stethoscope.lint]\nexclude = ["drafts/*.ipynb"]\n')

    async def do(editor: Editor) -> None:
        assert await editor.open(JOINED, joined(SETUP, LOOP)) == []
        assert len(await editor.open(JOINED.replace("drafts", "done"), joined(SETUP, LOOP))) == 1

    edit(tmp_path, do)


@pytest.mark.parametrize("name", [".virtual_documents", "project"])
def test_the_folder_that_the_editor_names_may_be_removed_while_it_runs(tmp_path: Path, name: str) -> None:
    """JupyterLab names the folder of its copies, and removes it when it starts again."""
    (tmp_path / name).mkdir()

    async def do(editor: Editor) -> None:
        assert rules(await editor.open("train.py", BAD)) == [("missing-zero-grad", 7)]
        editor.folder.rmdir()
        assert len(await editor.type("train.py", BAD + "\n")) == 1

    edit(tmp_path / name, do)


def test_a_text_that_does_not_parse_when_it_is_opened_is_not_shown_as_clean(tmp_path: Path) -> None:
    half = BAD.replace("optimizer.step()", "optimizer.step(")

    async def do(editor: Editor) -> None:
        (told,) = await editor.open("train.py", half)
        assert told.message == "not analysed: it does not parse at line 8: '(' was never closed"
        assert (told.range.start.line, told.severity) == (7, t.DiagnosticSeverity.Information)
        assert rules(await editor.type("train.py", BAD)) == [("missing-zero-grad", 7)]
        clean = "    optimizer.zero_grad()\n"
        assert await editor.type("train.py", clean, 8, 0, 8, 0) == []
        editor.client.text_document_did_change(_change(editor, "train.py", half))
        saved = t.DidSaveTextDocumentParams(t.TextDocumentIdentifier(editor.uri("train.py")))
        (told,) = await editor.after(lambda: editor.client.text_document_did_save(saved), editor.uri("train.py"))
        assert told.message.startswith("not analysed: ")

    edit(tmp_path, do)


def _change(editor: Editor, name: str, text: str) -> t.DidChangeTextDocumentParams:
    named = t.VersionedTextDocumentIdentifier(3, editor.uri(name))
    return t.DidChangeTextDocumentParams(named, [t.TextDocumentContentChangeWholeDocument(text)])


def test_what_editors_send_besides_leaves_nothing_in_the_log() -> None:
    said: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": {"capabilities": {}, "processId": None, "rootUri": None}},
        {"method": "initialized", "params": {}},
        {"method": "workspace/didChangeConfiguration", "params": {"settings": {}}},  # JupyterLab, unasked
        {"method": "$/cancelRequest", "params": {"id": 1}},  # VS Code, when its answer is on its way
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ]
    bodies = [json.dumps({"jsonrpc": "2.0", **one}).encode() for one in said]
    data = b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)

    command = [sys.executable, "-m", "stethoscope", "lsp"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
