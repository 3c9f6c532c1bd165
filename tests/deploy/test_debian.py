"""Programs of Debian's that tests start. Whoever lacks them must see why, and no build may fail of it."""

import shutil
import sys
from pathlib import Path

import pytest

from deploy import debian
from tests.documents import write_command
from tests.processes import run

PROGRAMS = [name for programs in debian.PROGRAMS.values() for name in programs]
SIMULATED = """NOTE: This is only a simulation!
Inst libnew (1.2-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])
Inst libold [1.0-1] (1.0-2 Debian:12.15/oldstable [amd64]) []
Conf libnew (1.2-3+deb12u1 Debian:12.15/oldstable [amd64])
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_unpacked_program_finds_its_libraries(name, tmp_path):
    if not (debian.BIN / name).exists():
        pytest.skip(f"{name} is not unpacked: it is installed, or not to be had")
    done = run([debian.BIN / name, "--version"], capture_output=True, text=True, input="", cwd=tmp_path)
    assert "shared libraries" not in done.stderr
    assert done.returncode in (0, 1)  # the generators of code know no such option


def test_search_path_ends_with_unpacked_programs():
    assert debian.on_path("/usr/bin") == f"/usr/bin:{debian.BIN}"
    assert debian.on_path(debian.on_path("/usr/bin")) == debian.on_path("/usr/bin")


def test_simulated_installation_names_versions():
    assert debian.to_install(SIMULATED) == [("libnew", "1.2-3+deb12u1"), ("libold", "1.0-2")]
    assert debian.to_install(None) == []


@pytest.mark.parametrize("apt", [None, "exit 100", '[ "$last" = update ] || exit 100'])
def test_nothing_to_be_had_fails_nothing(apt, tmp_path):
    """Without apt-get, without a network, and without such packages."""
    script = tmp_path / "deploy/debian.py"
    script.parent.mkdir()
    shutil.copy(Path(debian.__file__), script)
    (tmp_path / "bin").mkdir()
    if apt:
        write_command(tmp_path / "bin/apt-get", f"#!/bin/sh\nfor last; do :; done\n{apt}\n")
    done = run([sys.executable, script], env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "prometheus" in done.stdout
    is_for_good = apt is not None and "update" in apt
    assert (tmp_path / ".debian/ready").exists() == is_for_good  # otherwise it is tried again
