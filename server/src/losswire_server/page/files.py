"""The files of the page, as they are answered."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from losswire_server.page.table import table

TYPES = {  # of the files that browsers get; all others stay here
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = (
    ("Cache-Control", "no-cache"),  # ask again, by the ETag: the next version's page must not meet this one's scripts
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
)


class File(NamedTuple):
    """A file.

    Attributes:
        etag: Differs if the content does.
    """

    content_type: str
    content: bytes
    etag: str

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Content-Type", self.content_type), ("ETag", self.etag), *HEADERS]


def page_files() -> Mapping[str, File]:
    """All files by their paths at the server: ``/`` is the page, and what it loads is below ``/page``."""
    static = dict(_within(files("losswire_server.page") / "static", "/page"))
    page = static.pop("/page/index.html")
    figures = _file(".json", json.dumps(table(), separators=(",", ":")).encode())
    return {"/": page, "/page/figures.json": figures, **static}


def _within(folder: Traversable, path: str) -> Iterator[tuple[str, File]]:
    for entry in folder.iterdir():
        suffix = f".{entry.name.rpartition('.')[2]}"
        if entry.is_dir():
            yield from _within(entry, f"{path}/{entry.name}")
        elif suffix in TYPES:
            yield f"{path}/{entry.name}", _file(suffix, entry.read_bytes())


def _file(suffix: str, content: bytes) -> File:
    return File(TYPES[suffix], content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
