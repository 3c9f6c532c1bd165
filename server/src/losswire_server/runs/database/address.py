"""Where the store is: a file of SQLite's, or a database of PostgreSQL's."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from losswire_server.runs.errors import UnusableStoreError
from losswire_server.text import one_line

EXPECTED = "expected a file, as in runs.db, or a URL, as in postgresql://USER@HOST/DATABASE"
POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")


def address_of(text: str) -> URL:
    """Reads a path or a URL. Its text is in no error, since it may have a password."""
    if "://" not in text:
        return _sqlite(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise UnusableStoreError(f"runs: {EXPECTED}, got a URL that is none") from None
    if url.drivername in POSTGRESQL:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "sqlite" and not (url.host or url.query):
        return _sqlite(url.database or "")
    raise UnusableStoreError(f"runs: {EXPECTED}, got one of another kind: {one_line(url.drivername)}")


def _sqlite(path: str) -> URL:
    if path in ("", ":memory:") or "\0" in path:
        raise UnusableStoreError(f"runs: {EXPECTED}, got {one_line(repr(path))}")
    return URL.create("sqlite", database=str(Path(path).expanduser().absolute()))


def shown(url: URL) -> str:
    """The address without what is secret."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    plain = url.set(drivername="postgresql", query={})
    return plain.render_as_string(hide_password=True)
