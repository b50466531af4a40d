"""Where the file system allows it the log is written ahead; elsewhere the rollback journal does the work."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from stethoscope.store import database as databases
from stethoscope.store.database import BLOCK, Database, Points, file_system_of

MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /home/me/fast tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
//server/data /mnt/my\\040data cifs rw 0 0
"""


def journal_of(path: Path) -> str:
    connection = sqlite3.connect(path)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    return str(mode)


@pytest.mark.parametrize(
    ("place", "kind"),
    [("/var/x", "ext4"), ("/home/me/runs", "nfs4"), ("/home/me/fast/a", "tmpfs"), ("/mnt/my data/r", "cifs")],
)
def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path, place: str, kind: str) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert file_system_of(Path(place), tmp_path / "mounts") == kind


def test_a_system_that_lists_no_mounts_is_taken_as_local(tmp_path: Path) -> None:
    assert file_system_of(Path("/"), tmp_path / "nothing") == ""


@pytest.mark.parametrize(("kind", "journal"), [("ext4", "wal"), ("nfs4", "delete")])
def test_a_network_drive_gets_the_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, journal: str
) -> None:
    monkeypatch.setattr(databases, "file_system_of", lambda path: kind)
    database = Database(tmp_path / "a.db")
    database.write([Points("loss", np.arange(3), np.ones(3))], [], {})
    assert journal_of(tmp_path / "a.db") == journal
    database.close()


def test_once_closed_a_file_needs_no_log_so_that_it_can_be_read_from_a_read_only_disk(tmp_path: Path) -> None:
    Database(tmp_path / "a.db").close()
    assert journal_of(tmp_path / "a.db") == "delete"


def test_only_the_last_block_of_a_series_is_written_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    database.write([Points("loss", np.arange(BLOCK + 1), np.ones(BLOCK + 1))], [], {})
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    connection.execute("UPDATE points SET steps = '' WHERE block = 0")
    database.write([Points("loss", np.arange(BLOCK), np.ones(BLOCK))], [], {})
    sizes = [len(steps) // 8 for (steps,) in connection.execute("SELECT steps FROM points ORDER BY block")]
    connection.close()
    database.close()
    assert sizes == [0, BLOCK, 1]
