"""SQLAlchemy's engine for each of the two databases, and what each connection is told."""

import threading
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event

from losswire_server.runs.errors import UnusableStoreError

CONNECTIONS = 6  # of readers and the writer; callers that find all in use wait
MORE_CONNECTIONS = 10
WAIT_SECONDS = 10  # for a connection, and for a lock
STATEMENT_SECONDS = 30
JOURNAL_BYTES = 64 * 2**20  # what the write-ahead log keeps on disk between peaks

OF_SQLITE = (
    "PRAGMA synchronous = FULL",  # what is acknowledged is on disk: NORMAL may lose the last transactions
    "PRAGMA fullfsync = ON",  # on macOS, where to sync a file does not reach the disk
    "PRAGMA checkpoint_fullfsync = ON",
    f"PRAGMA journal_size_limit = {JOURNAL_BYTES}",
    "PRAGMA temp_store = MEMORY",
)
# A role may have synchronous_commit off. The other values all mean that a commit is on disk here.
OF_POSTGRESQL = f"""
SELECT set_config('statement_timeout', '{STATEMENT_SECONDS}s', false),
       set_config('lock_timeout', '{WAIT_SECONDS}s', false),
       set_config('idle_in_transaction_session_timeout', '{STATEMENT_SECONDS}s', false),
       CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'on', false) END
"""
# What PostgreSQL shows of them. A network that is lost is noticed in this time, also while an answer is waited for.
OF_CONNECTIONS = {
    "application_name": "losswire-server",
    "connect_timeout": 5,
    "tcp_user_timeout": 1000 * WAIT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
OF_ENGINES: dict[str, Any] = {
    "hide_parameters": True,  # errors have no keys and labels of callers
    "poolclass": QueuePool,
    "pool_size": CONNECTIONS,
    "max_overflow": MORE_CONNECTIONS,
    "pool_timeout": WAIT_SECONDS,
}


def make_engine(url: URL, given_up: threading.Event) -> Engine:
    """The engine of an address. Does not connect.

    Args:
        url: The address.
        given_up: From when it is set on, no connection waits for PostgreSQL. Nothing waits long for SQLite.
    """
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url, given_up)


def _sqlite(url: URL) -> Engine:
    # Without an isolation level the driver begins no transactions by itself.
    arguments = {"timeout": WAIT_SECONDS, "isolation_level": None, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, **OF_ENGINES)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        for pragma in OF_SQLITE:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        statement = connection.get_execution_options().get("begin", "BEGIN")
        if statement:
            connection.exec_driver_sql(statement)

    return engine


def _postgresql(url: URL, given_up: threading.Event) -> Engine:
    try:
        ours = {name: value for name, value in OF_CONNECTIONS.items() if name not in url.query}
        engine = create_engine(url, connect_args=ours, **OF_ENGINES)
        from losswire_server.runs.database.patience import PatientConnection
    except ImportError as error:
        raise UnusableStoreError(
            "runs: PostgreSQL needs the extra of that name: pip install 'losswire-server[postgresql]'"
        ) from error

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: Any, options: Any) -> Any:
        connection = PatientConnection.connect(*arguments, **options)
        connection.given_up = given_up
        return connection

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.execute(OF_POSTGRESQL)
        connection.commit()

    return engine
