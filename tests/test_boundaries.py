"""Who may import whom. In a process of its own, since this one has imported everything."""

import ast
import re
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).parents[1]
OURS = {"ce_engine", "losswire", "losswire_client", "losswire_server"}


def modules_after(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    ("statement", "ours", "absent"),
    [
        ("import losswire.tensors", {"losswire"}, {"grpc", "torch"}),
        ("import ce_engine", {"ce_engine"}, {"grpc", "google", "triton"}),
        ("import losswire_client", {"losswire_client", "losswire"}, {"torch"}),
        ("import losswire_client.torch", {"losswire_client", "losswire"}, {"torchmetrics", "sympy"}),  # of the compiler
        ("import losswire_client.torchmetrics", {"losswire_client", "losswire"}, set()),
        ("from losswire_server import launch, health", {"losswire_server"}, {"torch"}),
        ("from losswire_server import Server", {"losswire_server", "losswire", "ce_engine"}, set()),
    ],
)
def test_package_imports_no_more_than_it_may(statement, ours, absent):
    loaded = modules_after(statement)
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
def test_no_line_of_a_package_imports_what_the_package_may_not(folder, ours):
    sources = list((ROOT / folder / "src").rglob("*.py"))
    assert sources
    for source in sources:
        assert imported(source) & OURS <= ours, source


def imported(source: Path) -> set[str]:
    """Packages that are imported anywhere in a file, in its functions too."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_client_evaluates_without_torch(target):
    evaluate = f"""
from losswire_client import Client
with Client({target!r}) as client:
    client.cross_entropy([[1.0, 2.0, 3.0]], [2], grad=True)
"""
    assert "torch" not in modules_after(evaluate)


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
    """All that a distribution pulls, through others too, but for extras."""
    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        lines = [line for line in requires(waiting.pop()) or [] if "extra ==" not in line]
        names = {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("_", "-") for line in lines} - found
        found |= names
        waiting += names
    return found


def test_tests_start_processes_by_what_ends_them():
    folder = Path(__file__).parent
    own = {folder / name for name in ("processes.py", "timeouts.py", "test_timeouts.py")}
    others = set(folder.rglob("*.py")) - own - set((folder / "gpu").rglob("*.py"))  # which are to run alone
    assert [path for path in others if re.search(r"subprocess\.(run|call|Popen|check_\w+)\(", path.read_text())] == []
