"""A copy of a SQLite database as it is now, in one file. A plain copy lacks what still lies in its write-ahead log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from core.errors import ConfigInvalid

SIDE_FILES = ("-wal", "-shm", "-journal")
_MAGIC = b"SQLite format 3\0"
_PATIENCE_S = 10.0


def is_database(path: Path) -> bool:
    """Whether ``path`` is a SQLite database, whatever it is called."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def snapshot(database: Path, place: Path) -> None:
    """Copy ``database`` to ``place``, with every committed row and without write-ahead logging.

    The same bytes again, however the content is spread over file and log. The original is only read. One in WAL mode
    could not be opened on a disk that is read-only, as a function's is.
    Raises ConfigInvalid where it stays locked by another process for ten seconds, or is damaged.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(_open(database, "ro")) as source, closing(_open(place, "rwc")) as target:
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_schema").fetchone()  # locks out writers: backup would wait for ever
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise ConfigInvalid(
            f"{database.name} cannot be copied: SQLite says: {error}. Close what writes to it, and try again.",
            file=str(database),
        ) from None


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=_PATIENCE_S, isolation_level=None)
