"""Opening the store: whether it can be used at all, told to people."""

import logging
import os
import threading
from pathlib import Path

from sqlalchemy import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from losswire_server.runs.database.address import shown
from losswire_server.runs.database.database import Database, reason_of
from losswire_server.runs.database.file_systems import IN_MEMORY, MOUNTS, OF_NETWORKS, file_system_of
from losswire_server.runs.database.migrating import migrate
from losswire_server.runs.errors import StoreUnavailableError, UnusableStoreError

log = logging.getLogger(__name__)

ELSEWHERE = "use a disk of this machine, or PostgreSQL"


def open_database(url: URL, mounts: Path = MOUNTS, given_up: threading.Event | None = None) -> Database:
    """The database of an address, with its tables as they should be. For `given_up` see `Database`.

    Raises:
        UnusableStoreError: It cannot be used.
    """
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        _check_file(path, mounts)
        if (kind := file_system_of(path, mounts)) in IN_MEMORY:
            problem = f"{kind} is in memory: runs survive the server, and are lost with the machine"
            log.warning("runs are not on a disk", extra={"runs": str(path), "problem": problem})
    database = Database(url, given_up)
    try:
        _prepare(database, shown(url))
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: Database, name: str) -> None:
    try:
        database.outside(_use_write_ahead_log if database.is_sqlite else _check_encoding)
        migrate(database)
    except UnusableStoreError as error:
        raise UnusableStoreError(f"runs: cannot use {name}: {error}") from error
    except StoreUnavailableError as error:
        raise UnusableStoreError(f"runs: cannot open {name}: {error}") from error
    except SQLAlchemyError as error:
        raise UnusableStoreError(f"runs: cannot open {name}: {reason_of(error)}") from error


def _check_file(path: Path, mounts: Path) -> None:
    """Says what SQLite only calls 'unable to open database file'."""
    kind = file_system_of(path, mounts)
    if kind in OF_NETWORKS:
        raise UnusableStoreError(
            f"runs: {path} is on {kind}, where SQLite's write-ahead log does not work; {ELSEWHERE}"
        )
    if not path.parent.is_dir():
        raise UnusableStoreError(f"runs: there is no folder {path.parent}")
    if path.is_dir():
        raise UnusableStoreError(f"runs: expected a file, got a folder: {path}")
    if path.exists() and not path.is_file():
        raise UnusableStoreError(f"runs: expected a file, got a device or the like: {path}")
    for place in (path, path.parent):  # beside the file SQLite writes its log
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise UnusableStoreError(f"runs: this process may not read and write {place}")


def _use_write_ahead_log(connection: Connection) -> None:
    mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
    if mode != "wal":
        raise UnusableStoreError(f"SQLite's write-ahead log does not work there (journal_mode {mode}); {ELSEWHERE}")


def _check_encoding(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        raise UnusableStoreError(f"expected a database with encoding UTF8, got {encoding}")
