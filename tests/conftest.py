import gc
import os
import secrets
import signal
from collections.abc import Iterator

import hypothesis
import pytest
import torch

from deploy import debian
from losswire_client import Client
from losswire_server import Server
from tests.helpers import serving

pytest_plugins = ["tests.timeouts"]

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # for tests/gpu, before PyTorch's own test suite imports Triton

# Ray's clusters listen to the network, so they get a token. Otherwise Ray writes one to the home of whoever tests.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
os.environ |= {"RAY_gcs_server_port_wait_time_s": "120"}  # to start on a busy machine, in place of 30

os.environ["PATH"] = debian.on_path(os.environ.get("PATH", os.defpath))  # what `make test` unpacked is found at its end

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so in the background of a shell, and programs inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("losswire", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("losswire")

gc.disable()  # while tests are collected, which makes thousands of objects that stay


def pytest_collection_finish() -> None:
    """Excludes the modules and the tests from garbage collection, where they would cost half a second each time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOSSWIRE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def target(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def client(target: str) -> Iterator[Client]:
    with Client(target, timeout=20) as connected:
        yield connected
