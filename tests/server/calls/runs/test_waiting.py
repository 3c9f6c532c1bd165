"""Calls that wait: for the database, or for a run to change."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from tests.helpers import eventually, serving
from tests.server.calls.runs.keyed import create, keyed
from tests.server.calls.runs.test_keyed_calls import pack, reason, refused, unary
from tests.server.runs.test_loss import locked


def test_small_message_is_in_flight_until_it_is_on_disk(tmp_path):
    place, request = str(tmp_path / "runs.db"), keyed("a", "k", rows=100)
    with (
        serving(runs=place) as running,
        grpc.insecure_channel(f"127.0.0.1:{running.port}") as connected,
        ThreadPoolExecutor(1) as caller,
    ):
        create(run_service_pb2_grpc.RunServiceStub(connected), "a")
        losses, admission = loss_service_pb2_grpc.LossServiceStub(connected), running._backend.admission
        for way in (unary, pack):
            with locked(place):
                answer = caller.submit(way, losses, request)
                eventually(lambda: admission.inflight_bytes > request.ByteSize())
            answer.result()
            eventually(lambda: not admission.inflight_bytes)


def test_watches_do_not_hold_up_the_stop(tmp_path):
    with ExitStack() as stack:
        stack.enter_context(ended_within(20))
        running = stack.enter_context(serving(runs=str(tmp_path / "runs.db"), grace_seconds=60))
        channel = grpc.insecure_channel(f"127.0.0.1:{running.port}")
        runs = run_service_pb2_grpc.RunServiceStub(channel)
        create(runs, "a")
        watched = runs.WatchRun(v1.WatchRunRequest(name="a", interval_seconds=3600))
        next(watched)
    assert reason(refused(next, watched)) == "STOPPING"
    channel.close()


@contextmanager
def ended_within(seconds):
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds
