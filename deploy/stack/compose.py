"""What docker-compose.yml says of a service."""

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Service:
    """A service: how many containers, and what runs in each.

    Attributes:
        published: By port of the container, the ports of this machine of which each container gets one.
        mounted: By folder of the container, the folder of the repository that is mounted there.
    """

    replicas: int
    command: list[str]
    environment: dict[str, str]
    published: dict[int, Sequence[int]]
    mounted: dict[str, Path]


def services(file: Path = ROOT / "docker-compose.yml") -> dict[str, Service]:
    """The services of a file, by name."""
    return {name: _service(told) for name, told in yaml.safe_load(file.read_text())["services"].items()}


def _service(told: dict[str, Any]) -> Service:
    return Service(
        replicas=told.get("deploy", {}).get("replicas", 1),
        command=shlex.split(told.get("command", "")),
        environment={name: _expanded(str(value)) for name, value in told.get("environment", {}).items()},
        published=dict(_published(text) for text in told.get("ports", [])),
        mounted=dict(_mounted(text) for text in told.get("volumes", []) if text.startswith("./")),
    )


def _expanded(text: str) -> str:
    """As in ${NAME:-default}."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: os.environ.get(found[1]) or found[2], text)


def _published(text: str) -> tuple[int, range]:
    """As in 127.0.0.1:9464-9473:9464."""
    found = re.fullmatch(r"(?:[\d.]+:)?(\d+)(?:-(\d+))?:(\d+)", text)
    if found is None:
        raise ValueError(f"expected a port as [address:]port[-port]:port, got {text!r}")
    first, last, inside = found.groups()
    return int(inside), range(int(first), int(last or first) + 1)


def _mounted(text: str) -> tuple[str, Path]:
    outside, inside = text.split(":")[:2]
    return inside, ROOT / outside
