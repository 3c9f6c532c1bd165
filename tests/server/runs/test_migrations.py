"""The tables are made and migrated at start."""

import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from losswire_server.runs.database import migrating
from losswire_server.runs.database.address import address_of
from losswire_server.runs.database.database import Database
from losswire_server.runs.database.opening import open_database
from losswire_server.runs.database.tables import metadata
from losswire_server.runs.errors import UnusableStoreError
from losswire_server.runs.runs import Runs
from tests.processes import run
from tests.server.runs.making import commit, create, entry, opened


@pytest.fixture
def empty(place):
    database = Database(address_of(place))
    yield database
    database.close()


def names(connection):
    return set(inspect(connection).get_table_names())


def test_tables_are_those_of_the_code(place):
    database = open_database(address_of(place))
    try:
        options = {"version_table": migrating.VERSION_TABLE, "compare_type": True}
        differ = database.read(
            lambda connection: compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )
        assert differ == []
        assert database.read(names) == {*metadata.tables, migrating.VERSION_TABLE}
    finally:
        database.close()


def test_failed_migration_leaves_nothing(empty, monkeypatch):
    from alembic import op

    calls = []

    def fail_at_the_third(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise ZeroDivisionError
        make(*arguments, **options)

    make = op.create_table
    monkeypatch.setattr(op, "create_table", fail_at_the_third)
    with pytest.raises(ZeroDivisionError):
        migrating.migrate(empty)
    assert empty.read(names) == set()
    monkeypatch.undo()
    migrating.migrate(empty)
    assert len(empty.read(names)) == 6


def test_database_of_a_newer_server_is_refused(place, empty):
    with opened(place) as runs:
        create(runs)
    empty.write(lambda connection: connection.exec_driver_sql("UPDATE losswire_revision SET version_num = '9999'"))
    with pytest.raises(UnusableStoreError, match=r"cannot use .*: its tables have revision 9999 of a newer server"):
        Runs(place).open()
    empty.write(lambda connection: connection.exec_driver_sql("UPDATE losswire_revision SET version_num = '0001'"))
    with opened(place) as runs:
        assert commit(runs, entry("k", 1.0)) == [False]


def test_tables_of_others_are_left_alone(place, empty):
    empty.write(lambda connection: connection.exec_driver_sql("CREATE TABLE others (a INTEGER)"))
    with opened(place):
        assert "others" in empty.read(names)


def test_statements_of_migrations_are_not_printed(place, capfd):
    with opened(place):
        pass
    assert capfd.readouterr() == ("", "")


def test_log_tells_of_a_migration_and_nothing_else(place):
    program = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s")
from losswire_server.runs.runs import Runs
for _ in range(2):
    runs = Runs(sys.argv[1])
    runs.open()
    runs.close()
"""
    done = run([sys.executable, "-c", program, place], check=True, capture_output=True, text=True)
    assert done.stderr == "migrating the tables of runs\n"
