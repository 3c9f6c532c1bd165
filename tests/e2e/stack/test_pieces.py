"""Pieces of the stack that a machine may lack, or that do not start."""

import json
import os
import sys

import pytest
import yaml

from deploy.stack import pieces
from deploy.stack.compose import services
from deploy.stack.ports import choose
from tests.documents import write_command

GRAFANA = f"""#!{sys.executable}
import http.server, json, os
json.dump(dict(os.environ), open("environment.json", "w"))
address = os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"])
os.makedirs("api", exist_ok=True)
open("api/health", "w").close()
http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder that comes first on the search path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_grafana_is_provisioned_as_in_its_container(programs, tmp_path):
    write_command(programs / "grafana", GRAFANA)
    service, ports = services()["grafana"], choose(services(), any_free=True)
    with pieces.grafana(service, ports, tmp_path) as runs:
        assert runs
    given = json.loads((tmp_path / "environment.json").read_text())
    assert given["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    provisioned = tmp_path / "provisioning"
    assert given["GF_PATHS_PROVISIONING"] == str(provisioned)
    (source,) = yaml.safe_load((provisioned / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == f"http://127.0.0.1:{ports['prometheus', 9090][0]}"
    (provider,) = yaml.safe_load((provisioned / "dashboards/losswire.yml").read_text())["providers"]
    assert provider["options"]["path"] == str(service.mounted["/etc/grafana/dashboards"])


def test_stack_goes_on_without_grafana(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pieces.grafana(services()["grafana"], {}, tmp_path) as runs:
        assert not runs


def test_piece_that_does_not_start_tells_why(programs, tmp_path):
    write_command(programs / "grafana", "#!/bin/sh\necho the reason\nexit 1\n")
    service, ports = services()["grafana"], choose(services(), any_free=True)
    with pytest.raises(pieces.NotStartedError, match="the reason"), pieces.grafana(service, ports, tmp_path):
        pytest.fail("it cannot have started")
