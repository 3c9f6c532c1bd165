"""Only a room's own tests may import its inside. All other tests must use its face.

A name is private if a part of it starts with an underscore, or if it is a module of the server: the server is used as a
process, and its face is `losswire_server` itself. Each folder of tests may import the inside of the room that it tests,
and the modules at the top of that room's package. So if a room is rebuilt, only its own tests change.
"""

import ast
import re
from pathlib import Path

import pytest

from tests.imports import imported_names

TESTS = Path(__file__).parent
SOURCES = {"ce_engine": "ce_engine", "losswire_client": "client", "losswire_server": "server", "losswire": "proto"}
ROOMS = {  # by folder of tests: the longest match counts
    "ce_engine": "ce_engine",
    "ce_engine/cpu": "ce_engine.cpu",
    "ce_engine/engine": "ce_engine._batching",
    "ce_engine/heads": "ce_engine._heads",
    "ce_engine/losses": "ce_engine._plans",
    "ce_engine/sums": "ce_engine._sums",
    "gpu": "ce_engine.gpu",
    "client": "losswire_client",
    "client/cli": "losswire_client.cli",
    "client/heads": "losswire_client._heads",
    "client/keys": "losswire_client._keys",
    "client/many": "losswire_client._many",
    "client/readers": "losswire_client._readers",
    "client/ray": "losswire_client.ray",
    "client/request": "losswire_client._request",
    "client/runs": "losswire_client._runs",
    "client/torch": "losswire_client.torch",
    "client/tracing": "losswire_client._tracing",
    "client/transports": "losswire_client._transports",
    "client/wires": "losswire_client._wires",
    "server": "losswire_server",
}
WHOLE = {"server"}  # its rooms have no faces; test_boundaries.py checks their imports
FACES = {
    "losswire_server.health",  # a command
    "losswire_server.errors",  # the errors that a server may return
    "losswire_server.in_process",  # losswire_client.testing needs it
}
EXCEPTIONS = {  # rooms that single files may import, and why
    "server/rpc/security/conftest.py": {"losswire_client._wires"},  # callers look at their files at each call too
    "ce_engine/conftest.py": {"ce_engine.cpu"},  # turns compiled code off, to run everything by operators too
    "gpu/divergences/test_hidden_states.py": {"ce_engine._heads"},  # makes tiles small
    "ce_engine/engine/heads/conftest.py": {"ce_engine._heads"},  # makes tiles small
    "ce_engine/engine/heads/test_parts.py": {"ce_engine._heads"},  # makes parts few
    "gpu/heads/test_heads.py": {"ce_engine._heads"},  # makes tiles small
    "client/cli/evaluation/keyed/test_contents.py": {"losswire_client._keys", "losswire_client._readers"},  # of a file
    "client/cli/evaluation/keyed/test_eval_run_refusals.py": {"losswire_client._keys"},  # looks through few keys
    "client/cli/evaluation/test_eval_kinds.py": {"losswire_client._readers"},  # the kinds that names of arrays tell
    "client/cli/evaluation/test_histogram.py": {"losswire_client._readers"},  # batches without a file
    "client/ray/test_command_line.py": {"losswire_client.cli"},  # adds to the same runs
    "client/ray/test_parts.py": {"losswire_client._keys", "losswire_client._readers"},  # the errors of files
    "client/ray/test_workers.py": {"losswire_client._keys"},  # how files are cut
    "client/request/verdicts.py": {  # the sides of one verdict
        "losswire_client._many",
        "losswire_client._transports",
        "losswire_server.requests",
    },
    "client/transports/test_shared_memory_failures.py": {"losswire_client._wires"},  # misleads both sides
    "client/test_client.py": {"losswire_client._transports"},  # makes messages small
    "client/test_errors.py": {"losswire_client._failures", "losswire_server.rpc"},  # the table; makes the server fail
    "client/wires/test_coalesce.py": {"losswire_server.calls", "losswire_server.rpc"},  # makes it slow, and fail
    "client/wires/test_coalescing.py": {"losswire_client._transports"},  # the limits of a message
    "test_tables.py": {  # all places in which a loss must be
        "losswire_client._request",
        "losswire_client.cli",
        "losswire_server.requests",
        "ce_engine._kernel_rows",
    },
    "tracing/test_outcomes.py": {"losswire_server.rpc"},  # has the server refuse calls
    "e2e/test_wheels.py": {"losswire_client._install"},  # runs the commands that errors recommend
}


def names(source: Path) -> set[str]:
    """The names that a file imports, or has as strings for monkeypatch."""
    texts = [str(node.value) for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Constant)]
    quoted = {text for text in texts if re.fullmatch(r"\w+(\.\w+)+", text)}
    return {name for name in imported_names(source) | quoted if name.partition(".")[0] in SOURCES}


def is_private(name: str) -> bool:
    package, *parts = name.split(".")
    inside = package == "losswire_server" and is_module(f"{package}.{parts[0]}")
    return inside or any(re.match(r"_(?!_)", part) for part in parts)


def is_module(name: str) -> bool:
    package = name.partition(".")[0]
    path = TESTS.parent / SOURCES[package] / "src" / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


def is_within(name: str, room: str) -> bool:
    return f"{name}.".startswith(f"{room}.")


def may_know(source: Path, name: str) -> bool:
    """Whether a name is in the room that a file's folder tests, at the top of its package, or in the exceptions."""
    file = source.relative_to(TESTS)
    folder = next((str(each) for each in file.parents if str(each) in ROOMS), None)
    known = FACES | EXCEPTIONS.get(str(file), set())
    if any(is_within(name, room) for room in known):
        return True
    if folder is None:
        return False
    package, first = name.split(".")[:2]
    at_the_top = package == ROOMS[folder].partition(".")[0] and (folder in WHOLE or not is_room(f"{package}.{first}"))
    return at_the_top or (is_within(name, ROOMS[folder]) and ROOMS[folder] != package)


def is_room(name: str) -> bool:
    package, first = name.split(".")
    return (TESTS.parent / SOURCES[package] / "src" / package / first).is_dir()


FILES = sorted(set(TESTS.rglob("*.py")) - {Path(__file__)})


@pytest.mark.parametrize("source", FILES, ids=lambda source: str(source.relative_to(TESTS)))
def test_tests_go_through_faces(source):
    assert [name for name in sorted(names(source)) if is_private(name) and not may_know(source, name)] == []


@pytest.mark.parametrize(
    ("file", "name", "may"),
    [
        ("ce_engine/cpu/test_native.py", "ce_engine.cpu._launch", True),
        ("ce_engine/losses/test_nll_loss.py", "ce_engine.cpu._launch", False),
        ("ce_engine/losses/test_nll_loss.py", "ce_engine._slab.Slab", True),
        ("client/cli/test_app.py", "losswire_client._request.form_checks", False),
        ("client/cli/test_app.py", "losswire_client.cli.load._batches", True),
        ("client/cli/test_app.py", "ce_engine._slab", False),
        ("server/calls/test_packs.py", "ce_engine._plans.options", False),
        ("server/calls/test_packs.py", "losswire_server.requests.pack", True),
        ("e2e/test_process.py", "losswire_server.rpc.service", False),
    ],
)
def test_room_is_known_to_its_tests(file, name, may):
    assert is_private(name)
    assert may_know(TESTS / file, name) is may


@pytest.mark.parametrize("name", ["losswire_server.Server", "losswire_server.__version__", "ce_engine.cpu.evaluate"])
def test_faces_are_not_private(name):
    assert not is_private(name)


def test_folders_of_tests_are_there():
    assert all((TESTS / folder).is_dir() for folder in ROOMS)
