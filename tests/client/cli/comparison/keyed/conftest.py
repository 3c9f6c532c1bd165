import json

import pytest

from losswire_client import Client
from tests.helpers import serving


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
def added(losswire):
    """The JSON of ``losswire compare --run NAME --json``."""

    def run(name, *arguments):
        result = losswire("compare", "--run", name, "--json", *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run
