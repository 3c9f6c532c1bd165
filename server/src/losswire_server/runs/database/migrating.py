"""Brings the tables to the present form, by Alembic, whichever server of several comes first."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from losswire_server.runs.database.database import Database
from losswire_server.runs.errors import UnusableStoreError

SCRIPTS = Path(__file__).parents[1] / "migrations"
VERSION_TABLE = "losswire_revision"
LOCK = 0x6C6F7373  # of PostgreSQL's advisory locks

log = logging.getLogger(__name__)


def migrate(database: Database) -> None:
    """Makes or changes the tables, all or nothing, under a lock.

    Raises:
        UnusableStoreError: A newer server has changed them.
        StoreUnavailableError: The database cannot be reached.
    """
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    found, newest = database.read(lambda connection: _revision(connection, scripts)), scripts.get_current_head()
    if found != newest:
        log.info("migrating the tables of runs", extra={"found": found, "newest": newest})
        database.write(lambda connection: _upgrade(connection, config, scripts))


def _revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    revision = context.get_current_revision()
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        newest = scripts.get_current_head()
        raise UnusableStoreError(
            f"its tables have revision {revision} of a newer server; this server knows {newest}. Start that one"
        )
    return revision


def _upgrade(connection: Connection, config: Config, scripts: ScriptDirectory) -> None:
    if connection.dialect.name == "postgresql":  # SQLite has begun as the only writer
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    _revision(connection, scripts)  # another server may have been first
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
