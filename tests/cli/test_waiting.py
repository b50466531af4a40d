"""The bar of long work: on a terminal, after a while, and gone at the end."""

from __future__ import annotations

import io
import time

import pytest

from stethoscope.cli.waiting import shown_progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_long_work_is_shown_and_wiped_away() -> None:
    stream = Terminal()
    with shown_progress(stream=stream, patience=0.0) as progress:
        assert progress is not None
        time.sleep(0.1)
        progress("count [red]train.csv", 0.5)
        time.sleep(0.3)

    assert "count [red]train.csv" in stream.getvalue()
    assert stream.getvalue().rstrip("\x1b[?25h").endswith("\x1b[2K")


def test_short_work_shows_nothing() -> None:
    stream = Terminal()
    with shown_progress(stream=stream, patience=5.0) as progress:
        assert progress is not None
        progress("judge", 0.95)

    assert "judge" not in stream.getvalue()


def test_work_that_fails_leaves_no_bar() -> None:
    stream = Terminal()

    def fail() -> None:
        with shown_progress(stream=stream, patience=0.0):
            time.sleep(0.1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    written = len(stream.getvalue())
    time.sleep(0.2)

    assert len(stream.getvalue()) == written


@pytest.mark.parametrize(("quiet", "stream"), [(True, Terminal()), (False, io.StringIO())])
def test_where_nobody_looks_nothing_is_drawn(quiet: bool, stream: io.StringIO) -> None:
    with shown_progress(quiet, stream, 0.0) as progress:
        time.sleep(0.1)

    assert progress is None
    assert stream.getvalue() == ""


def test_each_stage_is_told_in_order() -> None:
    pytest.importorskip("narwhals")
    pd = pytest.importorskip("pandas")
    from stethoscope.inspecting import inspect_data

    told: list[tuple[str, float]] = []
    frame = pd.DataFrame({"a": range(30), "y": [0, 1] * 15})
    inspect_data(frame, frame, target="y", progress=lambda what, done: told.append((what, done)))

    assert [what for what, _ in told] == ["count train", "count test", "look at single rows", "judge"]
    assert [done for _, done in told] == sorted(done for _, done in told)
