"""Files of rows: what is read, and one clear sentence for each that cannot be."""

# ruff: noqa: E402 (what a test needs may not be installed)

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")

from stethoscope.core.errors import BadFile, StethoscopeError, UsageError
from stethoscope.observe.data import files, readers
from stethoscope.observe.data.opening import open_table
from stethoscope.observe.data.profiling import profile

ROWS = "a,b\n1,x\n2,y\n3,x\n"


def written(folder: Path, name: str, text: str | bytes) -> str:
    """A file with this in it."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def complaint(path: str) -> str:
    """The sentence that is said of a file; one line, of a kind that is printed without a traceback."""
    with pytest.raises(StethoscopeError) as raised:
        profile(open_table(path, "train"))
    said = str(raised.value)
    assert isinstance(raised.value, BadFile | UsageError)
    assert "\n" not in said
    assert len(said) < 320
    return said


def columns(path: str) -> dict[str, tuple[str, int]]:
    """Kind and rows of each column."""
    return {column.name: (column.kind, column.rows) for column in profile(open_table(path, "train")).columns}


@pytest.mark.parametrize("name", ["rows.csv", "rows.txt", "rows.csv.gz"])
def test_text_with_commas_is_read(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, gzip.compress(ROWS.encode()) if name.endswith("gz") else ROWS)
    assert columns(path) == {"a": ("number", 3), "b": ("category", 3)}


@pytest.mark.parametrize(
    ("name", "mark"), [("rows.tsv", "\t"), ("rows.csv", ";"), ("rows.csv", "|"), ("rows.csv", "\t")]
)
def test_what_parts_the_columns_is_found_out(tmp_path: Path, name: str, mark: str) -> None:
    assert columns(written(tmp_path, name, ROWS.replace(",", mark))) == {"a": ("number", 3), "b": ("category", 3)}


def test_decimal_commas_do_not_part_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", "a;b\n1,5;2,5\n3,5;4,5\n1,0;2,0\n")
    assert columns(path) == {"a": ("number", 3), "b": ("number", 3)}
    assert profile(open_table(path, "")).columns[0].numbers.mean == pytest.approx(2.0)


def test_lines_of_json_and_a_list_of_them_are_read(tmp_path: Path) -> None:
    lines = '{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n'
    assert columns(written(tmp_path, "rows.jsonl", lines)) == {"a": ("number", 2), "b": ("category", 2)}
    assert columns(written(tmp_path, "rows.json", '[{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]'))["a"] == ("number", 2)


def test_patterns_and_folders_are_read_as_one_table(tmp_path: Path) -> None:
    for part in range(3):
        pl.DataFrame({"a": [part, part + 1]}).write_parquet(tmp_path / f"part-{part}.parquet")
    assert columns(str(tmp_path)) == {"a": ("number", 6)}
    assert columns(str(tmp_path / "part-[01].parquet")) == {"a": ("number", 4)}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert columns(written(tmp_path, "rows.csv", "\ufeff" + ROWS)) == {"a": ("number", 3), "b": ("category", 3)}


def test_a_file_without_names_gets_some(tmp_path: Path) -> None:
    assert [kind for kind, _ in columns(written(tmp_path, "rows.csv", "1,2.5\n3,4.5\n5,6.5\n")).values()] == [
        "number"
    ] * 2


def test_one_row_and_one_column_are_read(tmp_path: Path) -> None:
    assert columns(written(tmp_path, "one.csv", "a,b\n1,x\n")) == {"a": ("number", 1), "b": ("category", 1)}
    assert columns(written(tmp_path, "thin.csv", "a\n1\n2\n3\n")) == {"a": ("number", 3)}


def test_odd_names_of_files_are_read(tmp_path: Path) -> None:
    assert "a" in columns(written(tmp_path, "it's [1] * {}.csv", ROWS))
    if os.name == "posix":
        raw = os.fsencode(tmp_path) + b"/caf\xe9.csv"
        with open(raw, "wb") as file:
            file.write(ROWS.encode())
        table = open_table(os.fsdecode(raw), "train")
        assert table.rows() == 3
        table.name.encode()  # can be printed


def test_names_that_occur_twice_are_told_apart(tmp_path: Path) -> None:
    assert len(columns(written(tmp_path, "rows.csv", "a,a\n1,x\n2,y\n"))) == 2


def test_an_empty_file(tmp_path: Path) -> None:
    assert complaint(written(tmp_path, "rows.csv", "")) == "rows.csv is empty: 0 bytes"
    assert "nothing but blank space" in complaint(written(tmp_path, "rows.csv", "\n \n"))


def test_a_header_only(tmp_path: Path) -> None:
    assert complaint(written(tmp_path, "rows.csv", "a,b\n")).endswith("has a header and no rows")
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "rows.parquet")
    assert complaint(str(tmp_path / "rows.parquet")).endswith("has no rows")


def test_a_ragged_file(tmp_path: Path) -> None:
    assert "line 3 has 3" in complaint(written(tmp_path, "rows.csv", "a,b\n1,2\n1,2,3\n1,2\n"))
    late = "a,b\n" + "1,2\n" * 5000 + "1,2,3\n" + "1,2\n" * 5000
    assert "5002" in complaint(written(tmp_path, "late.csv", late))


def test_columns_that_nothing_known_parts(tmp_path: Path) -> None:
    assert "parted by '^'" in complaint(written(tmp_path, "rows.csv", "a^b\n1^2\n3^4\n"))


def test_another_encoding(tmp_path: Path) -> None:
    assert "LATIN1" in complaint(written(tmp_path, "rows.csv", "a,b\n1,caf\xe9\n2,x\n".encode("latin-1")))
    assert "UTF-16" in complaint(written(tmp_path, "rows.csv", ROWS.encode("utf-16")))
    late = (ROWS + "1,x\n" * 40_000).encode() + "1,caf\xe9\n".encode("latin-1")
    assert "UTF-8" in complaint(written(tmp_path, "late.csv", late))


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"a": np.arange(1000.0)}).write_parquet(path)
    whole = path.read_bytes()
    assert "cut off" in complaint(written(tmp_path, "rows.parquet", whole[:-100]))
    assert "does not start with PAR1" in complaint(written(tmp_path, "rows.parquet", ROWS))
    complaint(written(tmp_path, "rows.parquet", whole[:200] + b"\0" * 400 + whole[600:-50] + b"\xff" * 42 + whole[-8:]))


def test_damaged_gzip_and_json(tmp_path: Path) -> None:
    complaint(written(tmp_path, "rows.csv.gz", gzip.compress(ROWS.encode() * 9000)[:-40]))
    complaint(written(tmp_path, "rows.csv.gz", ROWS))
    complaint(written(tmp_path, "rows.jsonl", '{"a": 1}\n{"a": \n'))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    written(tmp_path, "train.csv", ROWS)
    assert complaint(str(tmp_path / "trian.csv")).endswith("; did you mean train.csv?")
    assert "no file matches" in complaint(str(tmp_path / "*.parquet"))


def test_a_name_that_tells_nothing(tmp_path: Path) -> None:
    assert "(.xyz)" in complaint(written(tmp_path, "rows.xyz", ROWS))
    assert "no ending" in complaint(written(tmp_path, "rows", ROWS))


def test_folders_without_tables(tmp_path: Path) -> None:
    assert "holds no" in complaint(str(tmp_path))
    written(tmp_path, "a.csv", ROWS)
    written(tmp_path, "b.jsonl", '{"a": 1}\n')
    assert "several formats" in complaint(str(tmp_path))


def test_a_folder_within_that_may_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("2023", "2024"):
        (tmp_path / part).mkdir()
        written(tmp_path / part, "rows.csv", ROWS)
    assert len(files.find(str(tmp_path)).paths) == 2
    look_into = os.scandir

    def scandir(folder: str) -> object:
        if str(folder).endswith("2024"):
            raise PermissionError(13, "Permission denied", str(folder))
        return look_into(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert complaint(str(tmp_path)).endswith("2024 cannot be read: Permission denied")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser reads everything")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", ROWS)
    os.chmod(path, 0)
    assert "Permission denied" in complaint(path)


@pytest.mark.parametrize("library", ["polars", "pandas", "pyarrow"])
def test_other_libraries_read_the_same_without_duckdb(
    tmp_path: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library)
    read = getattr(readers, f"_{library}")
    for name, text in (
        ("rows.csv", ROWS.replace(",", ";")),
        ("rows.jsonl", '{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'),
    ):
        source = files.find(written(tmp_path, name, text))
        delimiter, header = files.look_at(source) if source.format == "csv" else ("", True)
        frame = read(source, delimiter, header)
        assert frame.columns == ["a", "b"]
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "rows.parquet")
    assert len(read(files.find(str(tmp_path / "rows.parquet")), "", True)) == 2


def test_files_larger_than_memory_are_counted_in_two_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stethoscope.observe.data import duck
    from stethoscope.store.packing import pack

    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 300_000)
    values[::1000] = np.nan
    pl.DataFrame({"a": values, "k": rng.poisson(3, values.size)}).write_parquet(tmp_path / "rows.parquet")
    path = str(tmp_path / "rows.parquet")
    whole = profile(open_table(path, ""))
    monkeypatch.setattr(duck, "COLUMN", 1000)
    streamed = profile(open_table(path, ""), whole)
    for one, other in zip(whole.columns, streamed.columns, strict=True):
        assert pack(one.numbers.counts) == pack(other.numbers.counts)
        assert one.numbers.mean == pytest.approx(other.numbers.mean)
        assert (one.numbers.spikes, one.nulls) == (other.numbers.spikes, other.nulls)


def test_more_different_texts_than_are_fetched_are_counted_by_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stethoscope.observe.data import duck

    texts = [f"text {place % 4000}" for place in range(10_000)] + [None] * 5
    pl.DataFrame({"a": texts}).write_parquet(tmp_path / "rows.parquet")
    whole = profile(open_table(str(tmp_path / "rows.parquet"), "")).columns[0]
    monkeypatch.setattr(duck, "DIFFERENT", 100)
    there = profile(open_table(str(tmp_path / "rows.parquet"), "")).columns[0]
    assert (there.words.top, there.words.distinct, there.nulls) == (whole.words.top, 4000, 5)
    assert (there.words.lengths.counts == whole.words.lengths.counts).all()


def test_nothing_is_left_in_the_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    table = open_table(written(tmp_path, "rows.csv", ROWS), "train")
    profile(table)
    with pytest.raises(BadFile):
        open_table(written(tmp_path, "odd.csv", '{"a": 1}\n{"a": \n'), "train")
    del table
    gc.collect()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_late_row_of_another_kind_makes_a_column_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FIRST_ROWS", 100)
    text = "a,b\n" + "1,2\n" * 5000 + "N/A,2\n" + "1,2\n" * 5000
    column = profile(open_table(written(tmp_path, "rows.csv", text), "")).columns[0]
    assert (column.kind, column.missing, column.numbers.count) == ("number", 1, 10_000)


def test_a_line_longer_than_what_is_looked_at_first(tmp_path: Path) -> None:
    names = ",".join(f"a long name of column {i}" for i in range(4000))
    path = written(tmp_path, "wide.csv", f"{names}\n" + f"{','.join(['1.5'] * 4000)}\n" * 3)

    assert open_table(path, "train").rows() == 3
    assert len(open_table(path, "train").fields()) == 4000


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    assert "quote" in complaint(written(tmp_path, "open.csv", "a,b\n" + '1,"open\n' * 50))


@pytest.mark.parametrize("first", ["inf", "-inf", "nan", "Infinity"])
def test_numbers_that_begin_with_an_infinite_one_are_numbers(tmp_path: Path, first: str) -> None:
    path = written(tmp_path, "first.csv", f"a,b\n{first},x\n1.5,y\n,x\n")

    assert columns(path)["a"][0] == "number"
