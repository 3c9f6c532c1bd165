"""The services of ``docker compose up``, as processes: their interplay is tested without a container engine."""

import json
import math
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.stack.compose import services
from deploy.stack.configuration import write_prometheus
from deploy.stack.ports import INSIDE, choose
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
    every = COMPOSE["server"].get("environment", {})
    environment = {name: value for name, value in every.items() if name != "PGPASSWORD"}  # the database's own
    assert {name.removeprefix("LOSSWIRE_").lower() for name in environment} <= set(Settings.model_fields)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    settings = Settings()
    assert settings.drain_seconds + settings.grace_seconds < int(COMPOSE["server"]["stop_grace_period"].rstrip("s"))
    assert services()["server"].published.keys() == {settings.metrics_port}


def test_prometheus_scrapes_every_server_and_envoy():
    servers, envoy = PROMETHEUS["scrape_configs"]
    assert (servers["job_name"], envoy["job_name"]) == ("losswire", "envoy")
    (found,) = servers["dns_sd_configs"]
    assert (found["names"], found["type"], found["port"]) == (["server"], "A", Settings().metrics_port)
    assert envoy["static_configs"] == [{"targets": ["envoy:9902"]}]
    assert {"server", "envoy"} <= COMPOSE.keys()


def test_prometheus_takes_rules_and_exemplars():
    assert PROMETHEUS["rule_files"] == ["*.rules.yml"]
    assert "--enable-feature=exemplar-storage" in services()["prometheus"].command


def test_grafana_asks_the_prometheus_of_the_dashboards():
    (source,) = loaded("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    (provider,) = loaded("deploy/grafana/provisioning/dashboards/losswire.yml")["providers"]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    grafana = services()["grafana"]
    dashboards = provider["options"]["path"]
    home = grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (grafana.mounted[dashboards] / Path(home).relative_to(dashboards)).exists()


def test_servers_wait_for_the_database_that_they_are_told():
    server, database = COMPOSE["server"], COMPOSE["postgres"]
    url = urllib.parse.urlparse(server["environment"]["LOSSWIRE_RUNS"])
    assert server["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    told = database["environment"]
    assert (url.hostname, url.username, url.path) == ("postgres", told["POSTGRES_USER"], f"/{told['POSTGRES_DB']}")
    assert services()["server"].environment["PGPASSWORD"] == services()["postgres"].environment["POSTGRES_PASSWORD"]


def test_variables_of_the_environment_have_defaults(monkeypatch):
    assert services()["postgres"].environment["POSTGRES_PASSWORD"] == "losswire"
    monkeypatch.setenv("LOSSWIRE_POSTGRES_PASSWORD", "own")
    assert services()["postgres"].environment["POSTGRES_PASSWORD"] == "own"


def test_envoy_listens_where_it_is_published():
    assert set(services()["envoy"].published) <= set(INSIDE["envoy"])
    assert INSIDE["server"] == (Settings().port, Settings().metrics_port)


def test_ports_are_those_published_if_they_are_free():
    told = services()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        changed = {"server": replace(told["server"], published={9464: range(port, port + 1)})}
        first, second = choose(changed)["server", 9464]
    assert len({port, first, second}) == 3
    with socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0)) as other:
        last = other.getsockname()[1]
    changed = {"server": replace(told["server"], published={9464: [port, last]})}
    assert choose(changed)["server", 9464] == [port, last]


def loaded(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


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
        pytest.skip("needs prometheus: make .debian/ready unpacks it")
    with launch() as server:
        metrics_port = urllib.parse.urlparse(server.metrics_url).port or 0
        write_prometheus(
            ROOT / "deploy/prometheus", tmp_path, {("server", 9464): [metrics_port], ("envoy", 9902): []}, "1s"
        )
        address = f"127.0.0.1:{free_port()}"
        command = [binary, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path / 'data'}"]
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


@pytest.mark.slow
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
