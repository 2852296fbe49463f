"""Files for a coturn of the tests: those that its package leaves on a machine, in a folder of the test's own.

coturn asks its user database about every credential, also when its configuration holds the secret, and refuses a good credential (401) when the
database does not answer. Debian and the official image bring a database with tables, in which nothing is; a new file is given tables while the
first requests are there already, and is locked meanwhile (seen with 4.6.1: up to 6 of 100 credentials refused in its first second).
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

_SCHEMA: Final = Path("/usr/share/coturn/schema.sql")


def database(file: Path) -> None:
    """Make a database with coturn's tables, and nothing in them. Raises ``OSError`` where coturn is not installed."""
    with contextlib.closing(sqlite3.connect(file)) as made, made:
        made.executescript(_SCHEMA.read_text())


def own_files(folder: Path) -> tuple[str, ...]:
    """The options by which coturn keeps its files in ``folder``, where its database is made if it is not there yet."""
    file = folder / "turndb"
    if not file.exists():
        database(file)
    return ("--pidfile", str(folder / "pid"), "--userdb", str(file))
