"""Adopting `stethoscope lint` in a project: known findings, settings for paths, flake8."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from linting_files import BAD, lint, notebook

from stethoscope.adapters.flake8_plugin import Plugin
from stethoscope.cli.lint import command
from stethoscope.core.errors import BadFile, UsageError

LOOP = BAD[BAD.index("for x") :]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def error(*arguments: str) -> BaseException:
    found = CliRunner().invoke(command, [*arguments], standalone_mode=False).exception
    assert found is not None
    return found


def settings(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text)


def test_known_findings_are_counted_and_not_shown(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    assert lint(".", "--write-baseline", "known.json") == (0, "1 finding is known from now on, in known.json\n")
    code, output = lint(".", "--baseline", "known.json")

    assert code == 0
    assert "missing-zero-grad" not in output
    assert "1 known" in output


def test_a_known_finding_stays_known_when_its_line_moves_and_is_told_when_it_changes(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)
    lint(".", "--write-baseline", "known.json")

    (folder / "train.py").write_text(
        "# a line\n\n" + BAD.replace("    optimizer.step()", "    if x:\n        optimizer.step()")
    )
    assert lint(".", "--baseline", "known.json")[0] == 0
    (folder / "train.py").write_text(BAD.replace("optimizer.step()", "optimizer.step(None)"))
    code, output = lint(".", "--baseline", "known.json")
    assert code == 1
    assert "1 of the baseline found no more" in " ".join(output.split())


def test_of_equal_lines_as_many_are_known_as_there_were(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)
    lint(".", "--write-baseline", "known.json")
    (folder / "train.py").write_text(BAD + LOOP)

    code, output = lint(".", "--baseline", "known.json")

    assert code == 1
    assert "train.py:11" in output
    assert "1 known" in output


def test_a_baseline_holds_from_another_folder_and_for_notebooks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "nb.ipynb").write_text(notebook(BAD))
    lint("src", "--write-baseline", "known.json")
    assert json.loads((folder / "known.json").read_text())["findings"][0]["file"] == "src/nb.ipynb"

    monkeypatch.chdir(folder / "src")

    assert lint("nb.ipynb", "--baseline", "../known.json")[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is no baseline"),
        ('{"findings": [{"rule": 1, "file": "", "line": "", "count": 1}]}', "is no baseline"),
        ('{"schema": 99, "findings": []}', "newer version"),
    ],
)
def test_what_is_no_baseline_is_said_in_a_sentence(folder: Path, text: str, words: str) -> None:
    (folder / "known.json").write_text(text)
    with pytest.raises(BadFile, match=words):
        raise error(".", "--baseline", "known.json")


def test_a_missing_baseline_says_how_to_write_one(folder: Path) -> None:
    with pytest.raises(UsageError, match="--write-baseline"):
        raise error(".", "--baseline", "known.json")


def test_excluded_files_are_left_out_and_counted_also_when_they_are_named(folder: Path) -> None:
    settings(folder, '[tool.stethoscope.lint]\nexclude = ["old", "*_draft.py"]\n')
    (folder / "old").mkdir()
    for name in ("old/train.py", "a_draft.py", "new.py"):
        (folder / name).write_text(BAD)

    code, output = lint(".")
    assert code == 1
    assert "1 error in 1 file;" in output
    assert "2 files excluded" in " ".join(output.split())
    assert lint("old/train.py")[0] == 0
    assert lint("-", "--stdin-filename", "old/train.py", text=BAD)[0] == 0


def test_a_rule_can_be_left_out_for_some_paths(folder: Path) -> None:
    settings(folder, '[tool.stethoscope.lint.per-path."demos/**"]\nwithout = ["missing-zero-grad"]\n')
    (folder / "demos" / "deep").mkdir(parents=True)
    for name in ("demos/deep/train.py", "train.py"):
        (folder / name).write_text(BAD)

    assert lint("demos")[0] == 0
    assert lint("train.py")[0] == 1
    assert lint("-", "--stdin-filename", "demos/x.py", text=BAD)[0] == 0


def test_a_subject_can_be_the_only_one_for_some_paths(folder: Path) -> None:
    settings(folder, '[tool.stethoscope.lint.per-path."demos"]\nonly = ["loss"]\n')
    (folder / "demos").mkdir()
    (folder / "demos" / "train.py").write_text(BAD)

    assert lint(".")[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lint = 1", "`lint` in [tool.stethoscope] cannot be 1"),
        ("lint.excluded = []", "[tool.stethoscope.lint] has no setting `excluded`; there are exclude, per-path"),
        ('lint.exclude = "tests"', "`exclude` in [tool.stethoscope.lint] should be a list of texts, not 'tests'"),
        ("lint.per-path = []", "`per-path` in [tool.stethoscope.lint] should be a table of patterns"),
        ('lint.per-path."a" = []', '[tool.stethoscope.lint.per-path."a"] should be a table with `only` or `without`'),
        ('lint.per-path."a".allow = []', "has no setting `allow`; there are only, without"),
    ],
)
def test_a_wrong_setting_is_said_in_a_sentence(folder: Path, text: str, words: str) -> None:
    settings(folder, f"[tool.stethoscope]\n{text}\n")
    with pytest.raises(BadFile, match=re.escape(words)):
        raise error(".")


def test_an_unknown_rule_for_a_path_is_told_with_the_nearest(folder: Path) -> None:
    settings(folder, '[tool.stethoscope.lint.per-path."a"]\nwithout = ["missing-zero"]\n')
    with pytest.raises(UsageError, match=r'per-path."a".*missing-zero-grad'):
        raise error(".")


def test_flake8_is_told_line_column_and_code(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)

    found = list(Plugin(ast.parse(BAD), "./train.py", BAD.splitlines(keepends=True)).run())

    assert [(line, column, words.split()[0]) for line, column, words, _ in found] == [(8, 4, "STH1")]
    assert found[0][2].endswith("[missing-zero-grad]")


def test_flake8_counts_characters_in_a_file_of_another_encoding() -> None:
    text = "# coding: latin-1\n" + BAD.replace("    optimizer.step()", '    "é"; optimizer.step()')

    found = list(Plugin(ast.parse(text), "train.py", text.splitlines(keepends=True)).run())

    assert [(line, column) for line, column, _, _ in found] == [(9, 9)]


def test_the_hook_uses_options_that_exist() -> None:
    known = {option for parameter in command.params for option in parameter.opts}

    text = (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text("utf-8")
    assert "stethoscope lint" in text
    assert set(re.findall(r"(?<=[ (])--[a-z][a-z-]+", text)) <= known
