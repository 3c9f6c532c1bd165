from collections.abc import Iterator

import pytest
import trustme

from losswire_client import TLS
from losswire_client._wires import files
from losswire_server import Server
from losswire_server.process import rotating
from tests.client.wires.certificates import write
from tests.helpers import serving
from tests.server.secured import write_tokens


@pytest.fixture(autouse=True)
def _looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(files, "CHECK_SECONDS", 0.0)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(tmp_path, authority) -> TLS:
    """Of a caller that has a certificate."""
    folder = tmp_path / "caller"
    folder.mkdir()
    return write(folder, authority, "caller.example")


@pytest.fixture
def guarded(tmp_path) -> Iterator[Server]:
    """A server in plain text, on loopback, that knows callers by tokens."""
    entries = {"a": "secret-a", "b": ("secret-b", 'losses = ["nll_loss"]\nseries = ["b/*"]')}
    with serving(**write_tokens(tmp_path, **entries)) as running:
        yield running
