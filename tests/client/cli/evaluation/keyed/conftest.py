import json

import numpy as np
import pytest

from losswire_client import Client
from tests.client.cli.evaluation.keyed.saved import FILES, save
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
def folder(tmp_path):
    """Files of different lengths."""
    for name, rows in FILES.items():
        save(tmp_path / "val" / name, rows)
    return tmp_path / "val"


@pytest.fixture
def exact(client):
    """The exact sums over all rows of files at once, without a run."""

    def total(*files, **options):
        loaded = [np.load(file) for file in files]
        logits, target = (np.concatenate([each[name] for each in loaded]) for name in ("logits", "target"))
        return client.cross_entropy(logits, target, exact=True, outputs=("predictions",), **options).exact

    return total


@pytest.fixture
def added(losswire):
    """The JSON of ``losswire eval --run NAME --json``."""

    def run(name, *arguments):
        result = losswire("eval", "--run", name, "--json", *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return run
