"""What is counted of evaluations that their run refuses: nothing, whatever the transport."""

from collections import Counter
from contextlib import suppress
from itertools import count

import grpc
import pytest

from losswire import v1
from losswire.v1 import run_service_pb2_grpc
from losswire_server.calls import work
from losswire_server.calls.work import AT_ONCE_SECONDS
from tests.helpers import serving, total
from tests.server.calls.runs.keyed import create, keyed
from tests.server.calls.runs.test_keyed_calls import header_alone, stream, unary
from tests.server.memory.shared_memory import connected, leased

OF_EACH = ("losswire_evaluations_total", "losswire_evaluation_seconds_count", "losswire_received_bytes_total")
NUMBERS = count()
NAN = b"\0\0\xc0\x7f"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(runs=str(tmp_path_factory.mktemp("runs") / "runs.db"), max_series=1000) as running:
        yield running


@pytest.fixture
def run(server):
    """The name of a run that has key k."""
    name = f"run-{next(NUMBERS)}"
    target = f"127.0.0.1:{server.port}"
    with grpc.insecure_channel(target) as channel, connected(target) as losses:
        create(run_service_pb2_grpc.RunServiceStub(channel), name)
        losses.Evaluate(keyed(name, "k"))
    return name


def each(way):
    def send(losses, requests):
        for request in requests:
            with suppress(grpc.RpcError):
                way(losses, request)

    return send


def in_shared_memory(way):
    """The inputs lie there."""

    def send(losses, requests):
        with leased(losses) as region:
            start = 0
            for request in requests:
                data, length = request.input.data, len(request.input.data)
                region.mapping[start : start + length] = data
                request.input.shared_memory.CopyFrom(region.span(start))
                start += 2**14
            way(losses, requests)

    return send


def pack(losses, requests):
    losses.BatchEvaluate(v1.BatchEvaluateRequest(requests=requests))


WAYS = {
    "unary": each(unary),
    "pack": pack,
    "stream": each(stream),
    "header_alone": each(header_alone),
    "unary_shared_memory": in_shared_memory(each(unary)),
    "pack_shared_memory": in_shared_memory(pack),
}


def requests(run, series, *, with_refused):
    """Some that count, between others that do not, whose losses are odd."""
    good = [keyed(run, f"{series}-{seed}", seed=seed, rows=8, series=series) for seed in range(3)]
    bad = [keyed(name, "k", seed=seed, rows=8, series=series) for seed, name in enumerate((run, run, "none"), 7)]
    for request in bad[1:]:
        request.input.data = NAN + request.input.data[4:]
    return [bad[0], good[0], bad[1], good[1], bad[2], good[2]] if with_refused else good


def counted(server, series):
    """All that the metrics say of a series, without the transport."""
    sums = Counter[tuple[str, str | None]]()
    for sample in (sample for metric in server.registry.collect() for sample in metric.samples):
        if sample.labels.get("series") == series:
            sums[sample.name, sample.labels.get("le")] += sample.value
    return dict(sums)


@pytest.mark.parametrize("at_once_seconds", [AT_ONCE_SECONDS, 0], ids=["at_once", "engine"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_refused_evaluations_are_in_no_losses(server, run, way, at_once_seconds, monkeypatch):
    monkeypatch.setattr(work, "AT_ONCE_SECONDS", at_once_seconds)
    series, expected = f"series-{next(NUMBERS)}", f"series-{next(NUMBERS)}"
    with connected(f"127.0.0.1:{server.port}") as losses:
        before = total(server.registry, "losswire_evaluations_total")
        way(losses, requests(run, series, with_refused=True))
        assert total(server.registry, "losswire_evaluations_total") - before == 3
        each(unary)(losses, requests(run, expected, with_refused=False))
    assert counted(server, series) == counted(server, expected)
    assert counted(server, series)["losswire_rows_total", None] == 24


@pytest.mark.parametrize("way", [pack, each(unary)], ids=["pack", "unary"])
def test_refused_evaluations_alone_leave_no_trace(server, run, way):
    series = f"series-{next(NUMBERS)}"
    before = {name: total(server.registry, name) for name in OF_EACH}
    refused = [request for request in requests(run, series, with_refused=True) if request.run_key.key == "k"]
    with connected(f"127.0.0.1:{server.port}") as losses:
        way(losses, refused)
    assert {name: total(server.registry, name) for name in OF_EACH} == before
    assert counted(server, series) == {}
