"""A real Prometheus that scrapes real servers, with the rules that are committed."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import ROOT
from tests.processes import started


@dataclass(frozen=True)
class Prometheus:
    """Where it is."""

    url: str

    def get(self, path: str, **arguments: str) -> Any:
        """What its API says; None while it is not up."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
                return None
            raise
        except urllib.error.URLError:  # nothing listens there yet
            return None

    def values(self, expression: str) -> list[float]:
        """The numbers of an expression now."""
        told = self.get("query", query=expression) or {"resultType": "vector", "result": []}
        results = [told["result"]] if told["resultType"] == "scalar" else [each["value"] for each in told["result"]]
        return [float(value) for _, value in results]

    def labels(self, metric: str) -> list[set[str]]:
        """The labels of each series of a metric."""
        found = self.get("series", **{"match[]": metric}) or []
        return [set(each) - {"__name__"} for each in found]


@contextmanager
def scraping(metrics_urls: Sequence[str], folder: Path) -> Iterator[Prometheus]:
    """Prometheus with the committed rules and options, but another interval, so that a test sees rates soon."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed; Debian has it as a package")
    targets = [urllib.parse.urlparse(url).netloc for url in metrics_urls]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "deploy/prometheus/*.rules.yml")],
        "scrape_configs": [{"job_name": "losswire", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{_free_port()}"
    command = [binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address={address}", "--enable-feature=exemplar-storage"]
    with started(command, stderr=subprocess.DEVNULL):
        yield Prometheus(f"http://{address}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
