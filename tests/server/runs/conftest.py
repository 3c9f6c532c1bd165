from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from losswire_server.runs.runs import Runs
from tests.server.runs.postgresql import Postgres, postgres


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address without tables."""
    if request.param == "sqlite":
        return str(tmp_path / "runs.db")
    running: Postgres = request.getfixturevalue("database")
    return running.new_schema(f"test_{uuid4().hex}")


@pytest.fixture
def runs(place: str) -> Iterator[Runs]:
    one = Runs(place)
    one.open()
    yield one
    one.close()
