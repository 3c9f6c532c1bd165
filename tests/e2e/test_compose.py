"""The services of ``docker compose up``, as processes: their interplay is tested without a container engine."""

import json
import math
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from losswire_client import Client
from losswire_server import Settings, launch
from tests.helpers import eventually
from tests.processes import started

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PROMETHEUS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
CUDA = yaml.safe_load((ROOT / "docker-compose.cuda.yml").read_text())["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def test_settings_of_the_server_exist(monkeypatch):
    environment = COMPOSE["server"].get("environment", {})
    assert {name.removeprefix("LOSSWIRE_").lower() for name in environment} <= set(Settings.model_fields)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    settings = Settings()
    assert settings.drain_seconds + settings.grace_seconds < int(COMPOSE["server"]["stop_grace_period"].rstrip("s"))
    assert {f"127.0.0.1:{port}:{port}" for port in (settings.port, settings.metrics_port)} == set(
        COMPOSE["server"]["ports"]
    )


def test_prometheus_scrapes_the_servers_port():
    (job,) = PROMETHEUS["scrape_configs"]
    (static,) = job["static_configs"]
    assert static["targets"] == [f"server:{Settings().metrics_port}"]
    assert "server" in COMPOSE


def test_device_settings_of_the_server_exist():
    environment = CUDA["server"]["environment"]
    ours = [name.removeprefix("LOSSWIRE_") for name in environment if name.startswith("LOSSWIRE_")]
    assert {name.lower() for name in ours} <= set(Settings.model_fields)
    assert environment["LOSSWIRE_DEVICE"] == CUDA["server"]["build"]["args"]["DEVICE"]


def test_device_file_changes_what_is_there():
    assert CUDA.keys() <= COMPOSE.keys()
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert CUDA["server"]["build"]["args"].keys() <= arguments
    (device,) = CUDA["server"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_build_arguments_are_explained():
    arguments = re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE)
    explained = re.findall(r"^#   ([A-Z_]+) ", DOCKERFILE, re.MULTILINE)
    assert sorted(set(arguments)) == sorted(explained)


@pytest.fixture
def prometheus(tmp_path):
    """A real Prometheus with the compose file's configuration, except that the server is on this machine."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed; Debian has it as a package")
    with launch() as server:
        job = PROMETHEUS["scrape_configs"][0]
        job = job | {
            "scrape_interval": "1s",
            "static_configs": [{"targets": [urllib.parse.urlparse(server.metrics_url).netloc]}],
        }
        config = tmp_path / "prometheus.yml"
        config.write_text(yaml.safe_dump(PROMETHEUS | {"scrape_configs": [job]}))
        address = f"127.0.0.1:{free_port()}"
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        with started([*command, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL):
            yield server, f"http://{address}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def query(url: str, expression: str) -> list[float]:
    address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        answer = json.load(urllib.request.urlopen(address, timeout=5))
    except OSError:  # not up yet
        return []
    return [float(result["value"][1]) for result in answer["data"]["result"]]


def queries(document: str) -> list[str]:
    """The PromQL queries of a document, over the last minute."""
    found = re.findall(r"```promql\n(.*?)\n```", (ROOT / document).read_text(), re.DOTALL)
    return [expression.replace("[5m]", "[1m]") for expression in found]


def test_prometheus_has_a_series_of_one_batch(prometheus):
    server, url = prometheus
    recent_mean, mean, nonfinite = queries("README.md")
    assert queries("docs/sdk.md") == [mean]
    with Client(server.target) as client:
        results = [client.cross_entropy([[1.0, 2.0]] * rows, [0] * rows, series="s") for rows in (1, 5)]
        client.cross_entropy([[math.nan, 2.0]], [0], series="s")
        client.nll_loss([[-1.0, -2.0]], [1], series="s")  # a series with another mean
    exact = sum(r.loss_sum for r in results) / sum(r.weight_sum for r in results)

    def values(expression: str) -> list[float]:
        found = query(url, f'({expression}) and on(series, loss) {{series="s", loss="cross_entropy"}}')
        return [value for value in found if not math.isnan(value)]

    eventually(lambda: values(recent_mean) != [])
    assert values(recent_mean) == pytest.approx([exact])
    assert values(mean) == pytest.approx([exact])
    (count,) = values(nonfinite)
    assert count > 0
