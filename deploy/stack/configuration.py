"""Copies of the configuration files, in which names and paths of containers became addresses and paths of this machine.

Nothing else changes, so that what runs here is what runs there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.stack.compose import ROOT
from deploy.stack.ports import HOST, Ports

ENVOY = ROOT / "deploy/envoy"


def write_envoy(folder: Path, ports: Mapping[int, int], servers: Sequence[int], secrets: Path | None = None) -> None:
    """Writes Envoy's files.

    Args:
        folder: Where to.
        ports: By port of the container, that at which Envoy is to listen here.
        servers: The ports of the servers.
        secrets: The folder of the certificate, for envoy-tls.yaml.
    """
    paths = {"/etc/envoy": folder, "/etc/losswire": secrets or folder}
    for file in ENVOY.glob("*.yaml"):
        written = _here(yaml.safe_load(file.read_text()), paths, ports)
        if file.name == "clusters.yaml":
            _set_servers(written, servers)
        (folder / file.name).write_text(yaml.safe_dump(written))
    (folder / "losswire.binpb").write_bytes((ENVOY / "losswire.binpb").read_bytes())


def _here(node: Any, paths: Mapping[str, Path], ports: Mapping[int, int]) -> Any:
    if isinstance(node, dict) and "port_value" in node:
        return {"address": HOST, "port_value": ports.get(node["port_value"], node["port_value"])}
    if isinstance(node, dict):
        return {name: _here(value, paths, ports) for name, value in node.items()}
    if isinstance(node, list):
        return [_here(value, paths, ports) for value in node]
    return moved(node, paths) if isinstance(node, str) else node


def moved(text: str, paths: Mapping[str, Path]) -> str:
    """A text in which paths of the container became paths of this machine."""
    for there, here in paths.items():
        text = text.replace(there, str(here))
    return text


def _set_servers(clusters: Any, servers: Sequence[int]) -> None:
    (cluster,) = (each for each in clusters["resources"] if each["name"] == "losswire")
    places = [{"socket_address": {"address": HOST, "port_value": port}} for port in servers]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [{"endpoint": {"address": at}} for at in places]}]


def write_prometheus(source: Path, folder: Path, ports: Ports, scrape_interval: str | None = None) -> None:
    """Writes Prometheus's configuration, with the rules beside it, and a target for each container."""
    for file in source.glob("*.rules.yml"):
        (folder / file.name).write_text(file.read_text())
        if scrape_interval:
            _set_interval(folder / file.name, scrape_interval)
    written = yaml.safe_load((source / "prometheus.yml").read_text())
    if scrape_interval:
        written["global"] |= {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval}
    for job in written["scrape_configs"]:
        found = [(name, each["port"]) for each in job.pop("dns_sd_configs", []) for name in each["names"]]
        named = [target.split(":") for each in job.pop("static_configs", []) for target in each["targets"]]
        found += [(name, int(port)) for name, port in named]
        job["static_configs"] = [{"targets": [f"{HOST}:{port}" for place in found for port in ports[place]]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(written))


def _set_interval(rules: Path, interval: str) -> None:
    written = yaml.safe_load(rules.read_text())
    for group in written["groups"]:
        group["interval"] = interval
    rules.write_text(yaml.safe_dump(written))


def write_grafana(mounted: Mapping[str, Path], folder: Path, ports: Ports) -> None:
    """Writes Grafana's provisioning."""
    provisioning = "/etc/grafana/provisioning"
    (prometheus,) = ports["prometheus", 9090]
    for file in mounted[provisioning].rglob("*.yml"):
        text = moved(file.read_text(), {there: here for there, here in mounted.items() if there != provisioning})
        copy = folder / file.relative_to(mounted[provisioning])
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text.replace("http://prometheus:9090", f"http://{HOST}:{prometheus}"))
