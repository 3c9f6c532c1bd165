import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
import ray

from losswire_client import Client
from tests.client.runs.relay import Relay, relaying
from tests.helpers import serving
from tests.processes import start_ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster of two processors and a GPU, on this machine."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the paths of its sockets must be short
    start_ray(
        num_cpus=2,
        num_gpus=1,  # says Ray, whether or not there is one
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=folder,
    )
    ray.data.DataContext.get_current().default_hash_shuffle_parallelism = 2
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server that keeps runs."""
    path = tmp_path_factory.mktemp("runs") / "runs.db"
    with serving(runs=str(path)) as server, Client(f"127.0.0.1:{server.port}", timeout=20) as client:
        yield client


@pytest.fixture
def relay(keeper: Client) -> Iterator[Relay]:
    """What stands before that server, to see and lose answers."""
    with relaying(keeper.target) as between:
        yield between


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The name of a run that no other test has."""
    return f"{request.node.originalname}-{os.urandom(8).hex()}"
