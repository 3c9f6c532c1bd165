from collections.abc import Iterator

import pytest

from tests.server.runs.postgresql import Postgres, postgres


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        yield running
