"""The wheels that users install, and their contents."""

import platform
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from losswire_client._install import command
from tests.processes import run

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 500.0  # the engine is compiled three times over


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("folder", "files"),
    [
        ("proto", {"losswire/py.typed", "losswire/v1/loss_service_pb2_grpc.py", "losswire/v1/tensor_pb2.pyi"}),
        ("ce_engine", {"ce_engine/py.typed", "ce_engine/_libraries.py"}),
        (
            "server",
            {
                *("losswire_server/py.typed", "losswire_server/main.py"),
                *(f"losswire_server/runs/migrations/{file}.py" for file in ("env", "versions/runs_0001")),
                *(
                    f"losswire_server/page/static/{file}"
                    for file in ("index.html", "numbers/evaluate.js", "vendor/LICENSE")
                ),
            },
        ),
        ("client", {"losswire_command.py", *(f"losswire_client/{name}" for name in ("py.typed", "ray/_guard.py"))}),
    ],
)
def test_wheel_has_its_code_and_its_types(folder, files, tmp_path):
    names = set(zipfile.ZipFile(wheel_of(folder, tmp_path)).namelist())
    assert files <= names
    tops = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {file.partition("/")[0] for file in files}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_engine_wheel_has_compiled_code(tmp_path):
    wheel = wheel_of("ce_engine", tmp_path)
    assert "ce_engine/cpu/libkernels_baseline.so" in zipfile.ZipFile(wheel).namelist()
    assert wheel.name.endswith(f"py3-none-linux_{platform.machine()}.whl")


@pytest.mark.slow
def test_engine_wheel_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    wheel = wheel_of("ce_engine", tmp_path)
    assert not any(name.endswith(".so") for name in zipfile.ZipFile(wheel).namelist())
    assert wheel.name.endswith("py3-none-any.whl")


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["cli", "ray", "testing"])
def test_client_installs_from_a_clone(extra, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")  # compiling takes longer than all the rest
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    options = ["--dry-run", "--no-index", "--no-build-isolation", "--ignore-installed", "--no-deps"]
    told = shlex.split(command(extra))
    done = run([*pip, *told[1:], *options], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "does not provide the extra" not in done.stderr
    assert "Would install" in done.stdout
    assert "losswire-client-0.2.0" in done.stdout


def wheel_of(folder, where):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", where]
    run([*build, ROOT / folder], check=True, seconds=BUILD_SECONDS)
    (wheel,) = where.glob("*.whl")
    return wheel
