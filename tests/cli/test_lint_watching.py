"""`stethoscope lint --watch`: again after each change, until Ctrl-C."""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from linting_files import BAD, lint

from stethoscope import linting
from stethoscope.cli import watching
from stethoscope.cli.lint import command
from stethoscope.core.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_done_at_first_and_after_each_change() -> None:
    states = iter("aaabbc")
    waits: list[float] = []
    told = watching.changes(lambda: next(states), waits.append)

    assert len(list(islice(told, 3))) == 3
    assert min(waits) >= watching.SHORTEST
    with pytest.raises(RuntimeError):  # no state is left, and nothing has changed since
        next(told)


def test_files_and_settings_are_watched(folder: Path) -> None:
    (folder / "train.py").write_text(BAD)
    seen = [linting.stamps(["."])]
    for name, text in (("train.py", BAD + "\n"), ("new.py", BAD), ("pyproject.toml", "")):
        (folder / name).write_text(text)
        seen.append(linting.stamps(["."]))
    (folder / "new.py").unlink()
    seen.append(linting.stamps(["."]))

    assert all(now != before for before, now in pairwise(seen))
    assert linting.stamps(["."]) == seen[-1]


def test_it_reviews_again_and_ends_with_the_code_of_the_last_review(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train.py").write_text(BAD)
    edits = iter([("pyproject.toml", "[tool."), ("pyproject.toml", ""), ("train.py", "x = 1\n")])

    def wait(seconds: float) -> None:
        edit = next(edits, None)
        if edit is None:
            raise KeyboardInterrupt
        (folder / edit[0]).write_text(edit[1])

    changes = watching.changes
    monkeypatch.setattr("stethoscope.cli.lint.changes", lambda stamps: changes(stamps, wait))

    code, output = lint("--watch", ".")

    assert code == 0
    assert output.count("1 error in 1 file") == 2
    assert output.count("is not valid TOML") == 1
    assert output.count("nothing wrong found") == 1


@pytest.mark.parametrize("arguments", [("-",), (".", "--write-baseline", "known.json")])
def test_what_is_read_once_cannot_be_watched(folder: Path, arguments: tuple[str, ...]) -> None:
    error = CliRunner().invoke(command, ["--watch", *arguments], standalone_mode=False).exception
    assert isinstance(error, UsageError)
