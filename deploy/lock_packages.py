"""Writes the packages of the image with the hashes of their files: ``make lock-packages``.

The image installs no file but these. pip looks them up in the index, for each version of Python, each machine, and old
and new systems that the image may be built for; nothing is installed. Another build of PyTorch has other hashes: give
its index, and an output file for the Dockerfile's argument REQUIREMENTS.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
OWN = ("proto", "ce_engine", "server")
EXTRAS = ("postgresql", "tracing")
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
OLDEST_GLIBC, NEWEST_GLIBC = 28, 45  # 2.28 is the oldest that PyTorch takes; newer systems may take other files


class Place(NamedTuple):
    """What the image may be built for."""

    python: str
    machine: str


class Pin(NamedTuple):
    """A version of a package."""

    name: str
    version: str


PLACES = [Place(*place) for place in product(PYTHONS, MACHINES)]
Lock = dict[Pin, dict[Place, set[str]]]  # the hashes of the files for each place


def main() -> None:
    """Writes what the server needs, and what its wheels are built with."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--extra-index-url", help="an index with another build of PyTorch in the same version")
    parser.add_argument("--output", type=Path, default=ROOT / "deploy/requirements.txt")
    given = parser.parse_args()
    options = ["--extra-index-url", given.extra_index_url] if given.extra_index_url else []
    projects = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in OWN]
    own = {project["project"]["name"] for project in projects}
    needed = {line for project in projects for line in project["project"]["dependencies"]}
    needed |= {line for project in projects for name in EXTRAS for line in _extra(project, name)}
    write(given.output, lock([line for line in needed if line.partition("==")[0] not in own], options))
    tools = {tool for project in projects for tool in project["build-system"]["requires"]}
    write(ROOT / "deploy/build-requirements.txt", lock(tools, []))


def _extra(project: dict[str, Any], name: str) -> list[str]:
    lines: list[str] = project["project"].get("optional-dependencies", {}).get(name, [])
    return lines


def lock(requirements: Iterable[str], options: list[str]) -> Lock:
    """What pip would install for some requirements, by place."""
    found: Lock = defaultdict(lambda: defaultdict(set))
    for place, newest in product(PLACES, (OLDEST_GLIBC, NEWEST_GLIBC)):
        for package in installs(sorted(requirements), place, newest, options):
            pin = Pin(package["metadata"]["name"].lower().replace("_", "-"), package["metadata"]["version"])
            found[pin][place].add(package["download_info"]["archive_info"]["hashes"]["sha256"])
    return found


def installs(requirements: list[str], place: Place, newest: int, options: list[str]) -> list[dict[str, Any]]:
    """What pip would install where glibc is as new as that."""
    platforms = [f"--platform=manylinux_2_{minor}_{place.machine}" for minor in range(newest, 4, -1)]
    platforms += [f"--platform=manylinux{year}_{place.machine}" for year in (2014, 2010, 1)]
    with tempfile.TemporaryDirectory() as folder:
        report = f"{folder}/report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", f"--python-version={place.python}", *platforms, f"--target={folder}"]
        command += [f"--report={report}", "-c", str(ROOT / "constraints.txt"), *options, *requirements]
        subprocess.run(command, check=True)
        told: list[dict[str, Any]] = json.loads(Path(report).read_text())["install"]
    return told


def write(file: Path, found: Lock) -> None:
    lines = ["# Made by `make lock-packages`, from the index and constraints.txt. Not to be edited.\n"]
    for pin, hashes in sorted(found.items()):
        marker = marker_of(hashes.keys())
        lines.append(f"{pin.name}=={pin.version}" + (f" ; {marker}" if marker else ""))
        lines += [f" \\\n    --hash=sha256:{one}" for one in sorted(set().union(*hashes.values()))] + ["\n"]
    file.write_text("".join(lines))


def marker_of(places: Iterable[Place]) -> str:
    """Where a package is installed; empty for everywhere."""
    found = set(places)
    if found == set(PLACES):
        return ""
    machines, pythons = {place.machine for place in found}, {place.python for place in found}
    by_machine, by_python = (
        " or ".join(f'{name} == "{value}"' for value in sorted(values))
        for name, values in (("platform_machine", machines), ("python_version", pythons))
    )
    if found != {Place(*place) for place in product(pythons, machines)}:
        raise ValueError(f"a package is needed in places that no marker describes: {sorted(found)}")
    parts = [by_machine] * (len(machines) < len(MACHINES)) + [by_python] * (len(pythons) < len(PYTHONS))
    return " and ".join(f"({part})" if len(parts) > 1 else part for part in parts)


if __name__ == "__main__":
    main()
