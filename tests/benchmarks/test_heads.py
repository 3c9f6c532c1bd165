import os
import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from benchmarks.batch import Answer, WrongAnswerError
from benchmarks.heads import service
from benchmarks.heads.__main__ import results
from benchmarks.heads.caller import LOCAL, measure
from benchmarks.heads.case import Case
from benchmarks.heads.links import link
from benchmarks.heads.server import serving
from benchmarks.heads.ways import chunked, engine, reference
from tests.processes import run

CASES = [
    Case(9, 12, 7, dtype, grad, norm)
    for dtype in ("float32", "bfloat16")
    for grad in (False, True)
    for norm in (False, True)
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("way", [reference, chunked, engine])
def test_all_ways_compute_the_same(way, case):
    with way() as prepare, prepare(case) as run:
        case.check(run())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_wrong_answers_are_noticed(case):
    with reference() as prepare, prepare(case) as run:
        loss, grad = run()
    with pytest.raises(WrongAnswerError, match="off by"):
        case.check(Answer(1.02 * float(loss), grad))
    with pytest.raises(WrongAnswerError):
        case.check(Answer(loss, None if case.grad else torch.zeros(9, 12)))
    if grad is not None:
        with pytest.raises(WrongAnswerError, match="off by"):
            case.check(Answer(loss, 1.2 * grad))


@pytest.mark.slow
def test_hidden_states_are_fewer_bytes():
    case = Case(64, 16, 1024, "float32", grad=True)
    with serving() as server:
        measured = measure(server.target, case, 2, local=True, transports=("stream", "shared_memory"))
    assert list(measured)[:3] == list(LOCAL)
    assert all(each.seconds > 0 for each in measured.values())
    assert measured["logits, stream"].wire_bytes > 2 * 4 * 64 * 1024
    assert 2 * 4 * 64 * 16 < measured["hidden states, stream"].wire_bytes < measured["logits, stream"].wire_bytes / 8


def namespaces() -> set[str]:
    done = run(["ip", "netns"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in done.stdout.splitlines()}


def may_make_namespaces() -> bool:
    """Root of a container often may not."""
    return run(["unshare", "--net", "true"], check=False, capture_output=True).returncode == 0


def test_link_leaves_nothing_behind():
    missing = [name for name in ("ip", "tc") if shutil.which(name) is None]
    if os.geteuid() or missing or not may_make_namespaces():
        pytest.skip("links need root, the right to make namespaces, ip and tc")
    with ExitStack() as stack:
        server, caller = stack.enter_context(link("lwtest", 1))
        assert {"lwtest-s", "lwtest-c"} <= namespaces()
        command = [*caller.prefix, "ip", "route", "get", server.address]
        assert caller.device in run(command, check=True, capture_output=True, text=True).stdout
        with pytest.raises(PermissionError), link("lwtest", 1):  # the namespaces are there
            pass
        assert {"lwtest-s", "lwtest-c"} <= namespaces()
    assert not {"lwtest-s", "lwtest-c"} & namespaces()


@pytest.mark.slow
def test_what_is_not_allowed_is_said(monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError("ip netns: not permitted")

    monkeypatch.setattr(service, "_over_link", refused)
    monkeypatch.setattr(service, "measure", lambda *_, **__: {})
    lines = list(service.service_tables([Case(2, 3, 4, "float32", grad=False)], 1))
    assert lines[1:] == [f"a link of {rate} Gbit/s: not measured: ip netns: not permitted" for rate in (10, 1)]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells how much it takes")
def test_memory_of_a_server_is_measured():
    (line,) = results(("memory",), 1, smoke=True)
    assert 0 < float(re.findall(r"at most ([\d.]+) MB", str(line))[0]) < 500
