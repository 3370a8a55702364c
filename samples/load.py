"""Makes a sample's databases from its SQL files: `python -m samples.load samples/company`."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path


def load(folder: Path) -> None:
    """(Re)make each NAME.db of ``folder`` from NAME.sql."""
    for script in sorted(folder.glob("*.sql")):
        database = script.with_suffix(".db")
        database.unlink(missing_ok=True)
        connection = sqlite3.connect(database)
        connection.executescript(script.read_text("utf-8"))
        connection.close()


if __name__ == "__main__":
    load(Path(sys.argv[1]))
