import numpy as np
import pytest

from losswire_client import Client
from tests.helpers import serving

LOGITS = np.random.default_rng(0).standard_normal((30, 4), np.float32)
TARGET = np.arange(30) % 4


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """The address of a server that keeps runs."""
    with serving(runs=str(tmp_path_factory.mktemp("runs") / "runs.db")) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def client(target):
    with Client(target, timeout=20) as connected:
        yield connected


@pytest.fixture
def make(client):
    """Makes a run with three keys, of which two have a slice."""

    def run(name, **options):
        made = client.run(name, **options)
        for i, name in enumerate(("", "news", "code")):
            rows = slice(10 * i, 10 * i + 10)
            made.evaluate(LOGITS[rows], TARGET[rows], key=f"part-{i}", slice=name)
        return made

    return run
