"""What evaluations hold while their sums wait for the database."""

from concurrent.futures import ThreadPoolExecutor

import grpc

from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from tests.helpers import eventually, serving
from tests.server.calls.runs.keyed import create, keyed
from tests.server.calls.runs.test_keyed_calls import pack, unary
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
