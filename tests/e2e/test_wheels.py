"""What users install: the wheels, and what is in them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "files"),
    [
        ("proto", {"losswire/py.typed", "losswire/v1/loss_service_pb2_grpc.py", "losswire/v1/tensor_pb2.pyi"}),
        ("ce_engine", {"ce_engine/py.typed", "ce_engine/_softmax.py"}),
        ("server", {"losswire_server/py.typed", "losswire_server/main.py"}),
        ("client", {"losswire_client/py.typed", "losswire_client/_client.py"}),
    ],
)
def test_wheel_has_its_code_and_its_types(folder, files, tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
    ]
    subprocess.run([*build, ROOT / folder], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert files <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        next(iter(files)).partition("/")[0]
    }
