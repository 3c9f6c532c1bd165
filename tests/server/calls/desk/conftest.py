from collections.abc import Iterator

import pytest

from tests.server.calls.desk.controlled_work import DeskServer


@pytest.fixture
def server() -> Iterator[DeskServer]:
    made = DeskServer()
    yield made
    made.close()
