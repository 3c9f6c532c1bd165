"""What a server counts of evaluations, whatever the way that they come."""

import math

import numpy as np
import pytest

from losswire import v1
from losswire.frames import REQUESTS
from losswire_client import Client
from tests.helpers import serving, total
from tests.server.calls.raw_streams import connection, stream_call, tensor

ROWS, CLASSES = 300, 200  # no transport takes less than 64 KiB out of the message
LOGITS = np.random.default_rng(0).standard_normal((ROWS, CLASSES), np.float32)
TARGET = np.arange(ROWS) % CLASSES


@pytest.fixture(scope="module")
def server():
    with serving(slab_bytes=2**14) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(f"127.0.0.1:{server.port}") as client:
        yield client


def gained(server, act, *names, **labels):
    before = [total(server.registry, name, **labels) for name in names]
    act()
    return [total(server.registry, name, **labels) - old for name, old in zip(names, before, strict=True)]


COUNTS = ("losswire_evaluations_total", "losswire_rows_total")
BYTES = ("losswire_received_bytes_total", "losswire_sent_bytes_total")


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_evaluation_is_counted_by_dtype_and_transport(server, transport, dtype):
    logits = LOGITS.astype(dtype)
    with Client(f"127.0.0.1:{server.port}", transport=transport) as client:
        labels = {"loss": "cross_entropy", "dtype": dtype, "transport": transport}
        counts, bytes_ = [], []
        counts = gained(server, lambda: client.cross_entropy(logits, TARGET), *COUNTS, **labels)
        bytes_ = gained(server, lambda: client.cross_entropy(logits, TARGET, grad=True), *BYTES, **labels)
    assert counts == [1, ROWS]
    received, sent = (seen - logits.nbytes for seen in bytes_)
    assert 0 < received < TARGET.nbytes + 2000
    assert 0 < sent < 2000


@pytest.mark.parametrize("is_open", [True, False])
def test_bytes_of_a_stream_are_those_of_its_messages(server, is_open):
    spec = v1.LossSpec(reduction=v1.Reduction.REDUCTION_NONE, cross_entropy=v1.CrossEntropy())
    header = v1.EvaluateRequest(spec=spec, input=tensor(LOGITS), target=tensor(TARGET))
    if is_open:
        header.input.ClearField("data")
    slabs = [REQUESTS.write(0, ROWS, {"input": memoryview(LOGITS.tobytes())})] if is_open else []
    messages: list[bytes] = [v1.EvaluateStreamRequest(header=header).SerializeToString(), *slabs]
    answers: list[bytes] = []
    labels = {"transport": "stream", "loss": "cross_entropy", "dtype": "float32"}
    with connection(server) as channel:
        counted = gained(server, lambda: answers.extend(stream_call(channel)(iter(messages))), *BYTES, **labels)
    assert counted == [sum(len(message) for message in messages), sum(len(answer) for answer in answers)]


def test_packs_are_counted_request_by_request(server):
    labels = {"transport": "pack", "loss": "cross_entropy"}
    with Client(f"127.0.0.1:{server.port}", coalesce=True) as client:

        def act():
            assert len(list(client.map([(LOGITS[:4], TARGET[:4])] * 40))) == 40

        assert gained(server, act, *COUNTS, **labels) == [40, 160]


@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_stages_of_a_call_are_observed(server, transport):
    stages = ("receive", "stage_in", "compute", "reply")
    name = "losswire_stage_seconds_count"
    with Client(f"127.0.0.1:{server.port}", transport=transport) as client:
        client.capabilities()
        before = {stage: total(server.registry, name, stage=stage) for stage in stages}
        client.cross_entropy(LOGITS, TARGET, grad=True)
    assert all(total(server.registry, name, stage=stage) > before[stage] for stage in stages)


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_losses_of_rows_are_counted_by_series(server, transport):
    name, logits = f"rows/{transport}", LOGITS.copy()
    logits[[3, 5]], target = math.nan, TARGET.copy()
    target[7] = -100
    with Client(f"127.0.0.1:{server.port}", transport=transport) as client:
        result = client.cross_entropy(logits, target, series=name)
        losses = client.cross_entropy(LOGITS, target, reduction="none").loss
    assert math.isnan(result.loss)
    finite = np.delete(losses, [3, 5, 7])
    labels = {"series": name, "loss": "cross_entropy"}

    def value(metric, **more):
        return server.registry.get_sample_value(f"losswire_{metric}", {**labels, **more})

    assert value("nonfinite_rows_total") == 2
    assert value("ignored_rows_total") == 1
    assert value("loss_sum_total") == pytest.approx(finite.astype(np.float64).sum())
    assert value("weight_sum_total") == len(finite)
    assert value("row_loss_bucket", le="+Inf") == len(finite)
    assert value("row_loss_bucket", le="6.0") == np.count_nonzero(finite <= 6)


@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_predictions_are_counted_by_series(server, transport):
    name = f"top/{transport}"
    with Client(f"127.0.0.1:{server.port}", transport=transport) as client:
        client.cross_entropy(LOGITS, TARGET, series=name)
        result = client.cross_entropy(LOGITS, TARGET, series=name, outputs=["predictions"])
    assert result.correct_count == np.count_nonzero(LOGITS.argmax(1) == TARGET)
    labels = {"series": name, "loss": "cross_entropy"}
    assert server.registry.get_sample_value("losswire_predicted_rows_total", labels) == ROWS
    assert server.registry.get_sample_value("losswire_correct_rows_total", labels) == result.correct_count


def test_signed_losses_give_the_mean(server, client):
    scores = np.array([[-2.0, 5.0], [3.0, -1.0]])  # densities may be above 1
    results = [client.nll_loss(scores, np.array(target), series="signed") for target in ([0, 0], [1, 0], [1, 1])]
    labels = {"series": "signed", "loss": "nll_loss"}
    names = ("loss_sum", "negative_loss_sum", "weight_sum", "negative_weight_sum")
    loss, negative, weight, negative_weight = (
        server.registry.get_sample_value(f"losswire_{name}_total", labels) for name in names
    )
    assert negative > 0
    mean = sum(result.loss_sum for result in results) / sum(result.weight_sum for result in results)
    assert (loss - negative) / (weight - negative_weight) == pytest.approx(mean)


def test_leases_are_shown(server):
    with Client(f"127.0.0.1:{server.port}") as client:
        array = client.empty((4, 4))
        assert total(server.registry, "losswire_shared_memory_leases") >= 1
        assert total(server.registry, "losswire_shared_memory_bytes") >= array.nbytes
        limit = total(server.registry, "losswire_shared_memory_limit_bytes")
        assert limit == client.capabilities().shared_memory_bytes
