import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def silent_target() -> Iterator[str]:
    """Accepts connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
