"""Transactions, and what becomes of errors in them."""

import threading
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from losswire_server.runs.database.engine import make_engine
from losswire_server.runs.errors import StoreUnavailableError
from losswire_server.text import one_line

ATTEMPTS = 5
SERIALIZATION_FAILURE, DEADLOCK_DETECTED = "40001", "40P01"

T = TypeVar("T")
Work = Callable[[Connection], T]


class Database:
    """Runs work in transactions. May be used from several threads.

    Work may run more than once, so it must have no effect but on the database: after a lost connection it is not known
    whether a transaction was committed, and another one finds out.

    Args:
        url: Its address.
        given_up: From when it is set on, nobody waits for it any more, and all work fails.
    """

    def __init__(self, url: URL, given_up: threading.Event | None = None) -> None:
        self._given_up = given_up or threading.Event()
        self._engine = make_engine(url, self._given_up)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        if self.is_sqlite:
            self._reading = self._engine
            self._writing = self._engine.execution_options(begin="BEGIN IMMEDIATE")
        else:
            self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writing = self._engine.execution_options(isolation_level="READ COMMITTED")

    def read(self, work: Work[T]) -> T:
        """Reads, all of it from one moment.

        Raises:
            StoreUnavailableError: The database cannot be reached.
        """
        return self._run(self._reading, work)

    def write(self, work: Work[T]) -> T:
        """Writes, and returns once that is on disk.

        Raises:
            StoreUnavailableError: The database cannot be reached.
        """
        return self._run(self._writing, work)

    def outside(self, work: Work[T]) -> T:
        """Does what SQLite does outside of transactions only. May raise any error of SQLAlchemy's."""
        with self._engine.execution_options(begin="").connect() as connection:
            return work(connection)

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, engine: Engine, work: Work[T]) -> T:
        attempt = 1
        while True:
            if self._given_up.is_set():
                raise StoreUnavailableError("the store is closed")
            try:
                with engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                if attempt == ATTEMPTS or not _may_pass(error, attempt):
                    raise StoreUnavailableError(reason_of(error)) from error
            attempt += 1


def reason_of(error: SQLAlchemyError) -> str:
    """Why the database failed, in one line: what its driver says, without the statement."""
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    return one_line(" ".join(text.split()))  # drivers write several lines


def _may_pass(error: SQLAlchemyError, attempt: int) -> bool:
    """Whether another attempt at once may succeed: after a deadlock, or once with a new connection."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return attempt == 1
    return getattr(error.orig, "sqlstate", None) in (SERIALIZATION_FAILURE, DEADLOCK_DETECTED)
