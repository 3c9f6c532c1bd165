"""A server of two processes, as its users run it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.tensors import encode
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client import Client
from losswire_server import RunningServer, Settings, launch
from tests.e2e.replicas.watching import children, is_replaced, samples, serving
from tests.helpers import eventually
from tests.present import present
from tests.processes import run, started

COMMAND = [sys.executable, "-m", "losswire_server", "--processes=2", "--metrics-port=0", "--log-format=json"]
ROWS = "losswire_rows_total" + str(
    [("dtype", "float64"), ("loss", "nll_loss"), ("series", "default"), ("transport", "unary")]
)
LOGITS, TARGET = np.random.default_rng(0).standard_normal((64, 1000), np.float32), np.arange(64)
SCRAPER = {"X-Prometheus-Scrape-Timeout-Seconds": "10"}


@pytest.fixture(scope="module")
def both() -> Iterator[RunningServer]:
    """A server of two processes, which tests may end one after the other."""
    with launch(processes=2, access_log_per_second=0) as server:
        yield server


def counters(seen: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in seen.items() if re.search(r"(_total|_bucket|_count|_sum)\[", key)}


def request() -> v1.EvaluateRequest:
    asked = v1.EvaluateRequest(spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, nll_loss=v1.NllLoss()))
    encode(np.array([1.0, 2.0]), asked.input, "input")
    encode(np.array(0), asked.target, "target")
    return asked


def each_process(server: RunningServer) -> Iterator[LossServiceStub]:
    """Stubs with a connection each, among which are some to each process."""
    for number in range(16):
        with grpc.insecure_channel(server.target, [("number", number)]) as channel:  # of its own, since options differ
            yield LossServiceStub(channel)


@pytest.mark.slow
def test_supervisor_is_light(both):
    for name in ("", "page/main.js", "page/figures.json"):
        with urllib.request.urlopen(both.metrics_url.removesuffix("metrics") + name) as answer:
            assert answer.read()  # it serves the page of all processes too
    mapped = Path(f"/proc/{both.pid}/maps").read_text()
    assert "libtorch" not in mapped
    assert "cygrpc" not in mapped
    assert "libtorch" in Path(f"/proc/{children(both)[0]}/maps").read_text()


@pytest.mark.slow
def test_both_serve_and_are_counted_together(both):
    before = samples(both)
    for stub in each_process(both):
        assert stub.Evaluate(request()).row_count == 1
    eventually(lambda: samples(both)[ROWS] - before[ROWS] >= 16)  # a busy process may tell them with the next scrape
    after = samples(both)
    assert after[ROWS] - before[ROWS] == 16
    assert after["losswire_processes[]"] == 2
    assert sum(key.startswith("losswire_build_info") for key in after) == 1
    assert after["process_resident_memory_bytes[]"] > 2 * 100 * 2**20


@pytest.mark.slow
def test_each_tells_its_part_of_the_limits(both):
    told = [stub.GetCapabilities(v1.GetCapabilitiesRequest()) for stub in each_process(both)]
    whole = Settings()
    assert {answer.limits.shared_memory_bytes for answer in told} == {whole.shared_memory_bytes // 2}
    assert {answer.batching.max_queue_rows for answer in told} == {whole.max_queue_rows // 2}


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["auto", "unary", "stream", "shared_memory"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_lease_and_calls_reach_the_same_process(both, transport, host):
    target = both.target.replace("127.0.0.1", host)
    for _ in range(4):
        with Client(target, transport=transport, retry=None) as client:
            results = [client.cross_entropy(LOGITS, TARGET, grad=True) for _ in range(4)]
            if transport == "auto":
                resident = client.empty(LOGITS.shape)
                resident[...] = LOGITS
                results.append(client.cross_entropy(resident, TARGET, grad=True))
        for result in results:
            assert result.loss == results[0].loss
            np.testing.assert_array_equal(present(result.grad), present(results[0].grad))


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_port_of_both_is_refused_to_others(both, processes):
    port = both.target.rpartition(":")[2]
    done = run([*COMMAND, f"--processes={processes}", f"--port={port}"], capture_output=True, text=True)
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert f"port: cannot listen on 127.0.0.1:{port}; is another server there?" in done.stderr


@pytest.mark.slow
def test_scraper_sees_a_new_series_at_0_first(both):
    with Client(both.target) as client:
        client.cross_entropy([[1.0, 2.0]], [0], series="once")
    key = "losswire_weight_sum_total[('loss', 'cross_entropy'), ('series', 'once')]"
    query, seen = "?name[]=losswire_weight_sum_total&name[]=losswire_processes", list[dict[str, float]]()

    def is_seen() -> bool:
        seen.append(samples(both, SCRAPER, query))
        return seen[-1].get(key) == 1

    eventually(is_seen)
    numbers = [one[key] for one in seen if key in one]  # a busy process may tell it with a later scrape
    assert numbers == [0] * (len(numbers) - 1) + [1]
    assert len(numbers) > 1
    assert {name.partition("[")[0] for name in seen[-1]} == {"losswire_weight_sum_total", "losswire_processes"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP],
)
def test_counters_never_fall(both, how):
    eventually(lambda: serving(both) == 2, 60)
    for stub in each_process(both):
        stub.Evaluate(request())
    before, seen = children(both), [counters(samples(both))]
    os.kill(before[0], how)
    if how == signal.SIGSTOP:  # it answers no scrape, and its last counts are shown
        seen.append(counters(samples(both)))
        os.kill(before[0], signal.SIGKILL)
    while not is_replaced(before[0], both):
        seen.append(counters(samples(both)))
    for stub in each_process(both):
        stub.Evaluate(request())
    seen.append(counters(samples(both)))
    assert len(seen) > 3
    for earlier, later in pairwise(seen):
        assert earlier.keys() <= later.keys()
        assert [key for key in earlier if later[key] < earlier[key]] == []
    assert seen[-1][ROWS] - seen[0][ROWS] == 16  # the first scrape was before the process ended
    assert children(both)[1:] == before[1:] or children(both)[:1] == before[1:]


@pytest.mark.slow
def test_left_process_costs_no_error(both):
    """Its calls are finished, and its callers go over to the other one."""
    eventually(lambda: serving(both) == 2, 60)
    with Client(both.target) as client:
        for pid in children(both):
            os.kill(pid, signal.SIGTERM)
            for _ in range(200):
                assert client.cross_entropy([1.0, 2.0], 0).row_count == 1
            eventually(partial(is_replaced, pid, both), 60)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_all_cleanly(number):
    with started([*COMMAND, "--port=0"], stderr=subprocess.PIPE, text=True) as process:
        events = read_events(process, "serving")
        assert sorted(entry["event"] for entry in events) == ["process serves", "process serves", "serving"]
        assert events[-1]["processes"] == 2
        pids = [entry["pid"] for entry in events[:-1]]
        process.send_signal(number)
        rest = [json.loads(line) for line in present(process.stderr)]
        assert process.wait(30) == 0
    assert [entry["event"] for entry in rest if "place" not in entry] == ["draining", "stopped"]
    assert {entry["event"] for entry in rest} == {"draining", "stopped"}
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["second signal", "killed"])
def test_end_of_the_supervisor_ends_all(how):
    command = [*COMMAND, "--port=0", "--drain-seconds=600"]
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        pids = [entry["pid"] for entry in read_events(process, "serving")[:-1]]
        if how == "killed":
            process.kill()
            assert process.wait(20) == -signal.SIGKILL
        else:
            process.send_signal(signal.SIGTERM)
            read_events(process, "draining")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == -signal.SIGTERM
        eventually(lambda: not any(is_running(pid) for pid in pids))


def read_events(process: "subprocess.Popen[str]", last: str) -> list[dict[str, Any]]:
    """All events up to one."""
    read = []
    for line in present(process.stderr):
        read.append(json.loads(line))
        if read[-1]["event"] == last:
            return read
    raise AssertionError(f"it ended before it said {last!r}: {read}")


def is_running(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except OSError:
        return False


@pytest.mark.slow
def test_start_that_cannot_work_is_one_line():
    done = run([*COMMAND, "--port=0", "--device=cuda:99"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "losswire-server: device: expected one that PyTorch can use, got cuda:99" in done.stderr


@pytest.mark.slow
def test_all_gpus_need_one():
    done = run([*COMMAND, "--processes=1", "--port=0", "--device=all"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "device: expected all only where PyTorch finds a GPU, and it finds none" in done.stderr
