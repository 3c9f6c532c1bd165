"""Stores that cannot be used are refused when they are opened, in words for people."""

import os
import sqlite3
import sys
from pathlib import Path

import pytest

from losswire_server.process.starting import CannotStartError
from losswire_server.runs.database import opening
from losswire_server.runs.database.address import address_of, shown
from losswire_server.runs.database.file_systems import OF_NETWORKS, file_system_of
from losswire_server.runs.errors import UnusableStoreError
from losswire_server.runs.runs import Runs
from tests.server.runs.making import commit, create, entry, opened


def refused(place):
    with pytest.raises(UnusableStoreError) as error:
        open_and_close(str(place))
    assert isinstance(error.value, CannotStartError)
    told = str(error.value)
    assert told.startswith("runs: ")
    assert told.isprintable()
    return told


def open_and_close(place):
    runs = Runs(place)
    try:
        runs.open()
    finally:
        runs.close()


def test_path_and_url_name_the_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened("runs.db") as runs:
        create(runs)
        assert commit(runs, entry("k", 1.0)) == [False]
    with opened(f"sqlite:///{tmp_path}/runs.db") as runs:
        assert commit(runs, entry("k", 1.0)) == [True]


def test_every_transaction_is_on_disk_before_it_is_acknowledged(place):
    database = opening.open_database(address_of(place))
    try:
        if database.is_sqlite:
            asked = {"PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2}
        else:
            asked = {"SHOW synchronous_commit": "on", "SHOW fsync": "on"}
        assert {statement: said(database, statement) for statement in asked} == asked
    finally:
        database.close()


def said(database, statement):
    return database.write(lambda connection: connection.exec_driver_sql(statement).scalar())


def test_role_cannot_turn_durability_off(database):
    place = database.new_schema("careless")
    database.execute("CREATE ROLE careless LOGIN; ALTER ROLE careless SET synchronous_commit = off")
    database.execute("GRANT ALL ON SCHEMA careless TO careless")
    opened_database = opening.open_database(address_of(place.replace("postgres@", "careless@")))
    try:
        assert said(opened_database, "SHOW synchronous_commit") == "on"
    finally:
        opened_database.close()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "expected a file, as in runs.db, or a URL"),
        (":memory:", "got ':memory:'"),
        ("sqlite://", "got ''"),
        ("sqlite:///:memory:", "got ':memory:'"),
        ("a\0b", "expected a file"),
        ("mysql://user:secret@host/name", "got one of another kind: mysql"),
        ("postgresql://user:secret@host:port/name", "got a URL that is none"),
        (
            "postgresql://postgres:secret@127.0.0.1:1/none",
            "cannot open postgresql://postgres:.*127.0.0.1:1/none: .*refused",
        ),
        ("postgresql://postgres@127.0.0.1:1/none?password=secret", "cannot open .*refused"),
        ("postgresql:///none?frobnicate=secret", "cannot open"),
    ],
)
def test_wrong_address_is_refused(place, said):
    told = refused(place)
    assert "secret" not in told
    assert "\\n" not in told
    with pytest.raises(UnusableStoreError, match=said):
        Runs(place).open()


def test_password_is_never_shown():
    url = address_of("postgresql://user:secret@host/name?sslpassword=secret")
    assert shown(url) == "postgresql://user:***@host/name"


def test_file_that_cannot_be_one_is_refused(tmp_path):
    assert f"there is no folder {tmp_path}/none" in refused(tmp_path / "none" / "runs.db")
    assert "expected a file, got a folder" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "got a device" in refused(tmp_path / "pipe")
    (tmp_path / "text").write_text("no database\n" * 1000)
    assert "file is not a database" in refused(tmp_path / "text")
    assert "there is no folder" in refused(tmp_path / "line\nbreak" / "runs.db")


def test_file_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)  # for root there is always permission
    assert refused(tmp_path / "runs.db") == f"runs: this process may not read and write {tmp_path}"


def test_database_in_use_by_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("losswire_server.runs.database.engine.WAIT_SECONDS", 0.1)
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "database is locked" in refused(tmp_path / "runs.db")
    other.close()


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /home rw,relatime shared:5 - nfs4 server:/home rw,vers=4.2
31 22 0:41 / /scratch rw - lustre mgs:/scratch rw
32 22 0:42 / /my\\040disk rw - fuse.sshfs host: rw
33 30 254:1 / /home/local rw - xfs /dev/vdb rw
34 22 0:43 / /over rw - tmpfs none rw
35 34 0:44 / /over rw - cifs //server/over rw
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/runs.db", "ext4"),
        ("/home/me/runs.db", "nfs4"),
        ("/homes/runs.db", "ext4"),
        ("/home/local/runs.db", "xfs"),
        ("/scratch/runs.db", "lustre"),
        ("/my disk/runs.db", "fuse.sshfs"),
        ("/over/runs.db", "cifs"),
    ],
)
def test_file_system_is_that_of_the_last_mount(path, kind, mounts):
    assert file_system_of(Path(path), mounts) == kind
    if kind in OF_NETWORKS:
        with pytest.raises(UnusableStoreError, match=f"{path} is on {kind}.*use a disk of this machine, or PostgreSQL"):
            opening.open_database(address_of(path), mounts)


def test_file_in_memory_is_warned_of(tmp_path, caplog):
    mounts = tmp_path / "mountinfo"
    for kind, warned in (("ext4", []), ("tmpfs", ["runs are not on a disk"])):
        mounts.write_text(f"22 1 254:0 / / rw - {kind} none rw\n")
        opening.open_database(address_of(str(tmp_path / "runs.db")), mounts).close()
        assert [entry.message for entry in caplog.records if entry.levelname == "WARNING"] == warned


def test_machine_that_tells_no_file_systems_is_trusted(tmp_path):
    assert file_system_of(tmp_path, tmp_path / "none") == ""
    opening.open_database(address_of(str(tmp_path / "runs.db")), tmp_path / "none").close()


def test_postgresql_without_its_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'losswire-server[postgresql]'" in refused("postgresql://host/name")


def test_postgresql_of_another_encoding_is_refused(database):
    database.execute_alone("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    assert "expected a database with encoding UTF8, got LATIN1" in refused(
        database.url().replace("/postgres?", "/latin?")
    )
