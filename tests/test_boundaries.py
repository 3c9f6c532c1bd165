"""Which package may import which. Checked in a separate process, since this one has imported everything."""

import re
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.imports import imported_names
from tests.processes import run

ROOT = Path(__file__).parents[1]
OURS = {"ce_engine", "losswire", "losswire_client", "losswire_server"}
NOT_OURS = {".debian", ".venv", ".venv-proto", ".venv-peers", "node_modules", "out"}


# Runs each statement in a child of a process that has run `first`, since that may take seconds.
IMPORTS = """
import os, sys
exec(sys.argv[1])
for statement in sys.argv[2:]:
    if not os.fork():
        exec(statement)
        print(*{name.partition(".")[0] for name in sys.modules}, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


def modules_after(*statements: str, first: str = "pass") -> list[set[str]]:
    """The modules that a process has after each of the statements alone."""
    done = run([sys.executable, "-c", IMPORTS, first, *statements], check=True, capture_output=True, text=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("first", "packages"),
    [
        (
            "pass",
            {
                "import losswire.tensors": ({"losswire"}, {"grpc", "torch"}),
                "import losswire_client": (
                    {"losswire_client", "losswire"},
                    {"torch", "opentelemetry", "ray", "pyarrow"},
                ),
                "import losswire_client.ray": ({"losswire_client", "losswire"}, {"torch", "typer", "rich"}),
                "from losswire_server import launch, health": ({"losswire_server"}, {"torch", "sqlalchemy"}),
                "import losswire_server.runs.runs": ({"losswire_server", "losswire"}, {"torch", "grpc"}),
            },
        ),
        (
            "import torch",
            {
                "import ce_engine": ({"ce_engine"}, {"grpc", "google", "triton"}),
                "import losswire_client.torch": (
                    {"losswire_client", "losswire"},
                    {"torchmetrics", "sympy"},  # the compiler imports sympy
                ),
                "import losswire_client.torchmetrics": ({"losswire_client", "losswire"}, set()),
                "from losswire_server import Server": (
                    {"losswire_server", "losswire", "ce_engine"},
                    {"opentelemetry", "sqlalchemy"},
                ),
            },
        ),
    ],
)
def test_package_imports_no_more_than_it_may(first, packages):
    for loaded, (ours, absent) in zip(modules_after(*packages, first=first), packages.values(), strict=True):
        assert loaded & OURS == ours
        assert not loaded & absent


@pytest.mark.parametrize(
    ("folder", "ours"),
    [
        ("proto", {"losswire"}),
        ("ce_engine", {"ce_engine"}),
        ("client", {"losswire_client", "losswire"}),
        ("server", {"losswire_server", "losswire", "ce_engine"}),
    ],
)
def test_no_line_imports_what_it_may_not(folder, ours):
    sources = list((ROOT / folder / "src").rglob("*.py"))
    assert sources
    for source in sources:
        assert {name.partition(".")[0] for name in imported_names(source)} & OURS <= ours, source


LAYERS = {  # each room may import rooms below it; all but the faces may be imported from the top of a package
    "server/src/losswire_server": (
        *(("rpc", "supervision"), ("calls",), ("metrics",), ("requests",)),
        *(("heads", "memory", "page", "runs", "tracing"), ("process",), ("settings",)),
    ),
    "client/src/losswire_client": (
        *(("_heads", "_many", "_runs"), ("_wires",), ("_transports",), ("_request",)),
        *(("_failures", "_keys", "_readers", "_tracing"),),
    ),
    "ce_engine/src/ce_engine": (("_batching",), ("cpu", "gpu", "_plans")),
}
FACES = {  # they put rooms together, so no room may import them
    "server/src/losswire_server": {"main", "serving", "server", "backend", "in_process", "member", "child"},
    "client/src/losswire_client": {"_client", "_async_client", "_base", "testing"},
    "ce_engine/src/ce_engine": {"functional"},
}


@pytest.mark.parametrize("package", LAYERS)
def test_rooms_open_downwards(package):
    layers = LAYERS[package]
    for number, rooms in enumerate(layers):
        below = {room for others in layers[number + 1 :] for room in others}
        above = {room for others in layers for room in others} - below
        for room in rooms:
            forbidden = (above - {room}) | FACES[package]
            sources = list((ROOT / package / room).rglob("*.py"))
            assert len(sources) > 1
            for source in sources:
                assert not inner_imports(source, Path(package).name) & forbidden, source


def inner_imports(source: Path, package: str) -> set[str]:
    """Rooms and modules at the top of a package that are imported anywhere in a file."""
    return {name.split(".")[1] for name in imported_names(source) if name.startswith(f"{package}.")}


MOST_MODULES = 16


def test_folders_have_few_modules():
    folders = [path.parent for path in ROOT.rglob("*.py") if not set(path.relative_to(ROOT).parts) & NOT_OURS]
    assert {folder: folders.count(folder) for folder in set(folders) if folders.count(folder) > MOST_MODULES} == {}


def test_client_evaluates_without_torch(target):
    evaluate = f"""
from losswire_client import Client
with Client({target!r}) as client:
    client.cross_entropy([[1.0, 2.0, 3.0]], [2], grad=True)
"""
    (loaded,) = modules_after(evaluate)
    assert "losswire_client" in loaded
    assert "torch" not in loaded


def test_client_pulls_nothing_heavy():
    assert requirements("losswire-client") == {
        "googleapis-common-protos",
        "grpcio",
        "grpcio-health-checking",
        "grpcio-status",
        "losswire",
        "ml-dtypes",
        "numpy",
        "protobuf",
        "tenacity",
        "typing-extensions",
    }


def requirements(distribution: str) -> set[str]:
    """All distributions that a distribution needs, also indirectly, without extras."""
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        lines = [line for line in requires(waiting.pop()) or [] if "extra ==" not in line]
        names = {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("_", "-") for line in lines} - found
        found |= names
        waiting += names
    return found


def test_tests_start_ending_processes():
    folder = Path(__file__).parent
    own = {folder / name for name in ("processes.py", "timeouts.py", "test_timeouts.py")}
    others = set(folder.rglob("*.py")) - own - set((folder / "gpu").rglob("*.py"))  # tests/gpu must run alone
    assert [path for path in others if re.search(r"subprocess\.(run|call|Popen|check_\w+)\(", path.read_text())] == []
