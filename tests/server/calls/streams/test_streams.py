"""The answers of streams, with any cuts and any order of messages that the contract allows."""

import numpy as np
import pytest

from losswire import v1
from losswire_server import Server
from tests.helpers import serving, total
from tests.pairs import pairs
from tests.server.calls.raw_streams import METHOD, RawStream, answers, connection, tensor
from tests.server.requests.stream_requests import ALL, GRADIENT, MEAN, SUM, binary, classes, probabilities


def test_full_header_needs_no_slabs(slab_channel):
    batch = classes(outputs=ALL)
    batch.open = []
    batch.check(slab_channel, answers(slab_channel, [batch.header()]))


def test_input_slabs_with_header_targets(slab_channel):
    batch = classes(outputs=ALL, reduction=MEAN)
    batch.open = ["input"]
    batch.check(slab_channel, answers(slab_channel, [batch.header(), *batch.slabs(7)]))


def test_batch_without_elements_needs_no_slabs(slab_channel):
    for batch in (classes((0,)), binary((0, 3)), classes((3, 0, 2), outputs=ALL, reduction=SUM)):
        batch.check(slab_channel, answers(slab_channel, [batch.header()]))


def test_slabs_of_every_size_have_the_bits(slab_channel):
    batch = classes((4, 3, 2), outputs=ALL)
    for rows in range(1, 25):
        batch.check(slab_channel, answers(slab_channel, [batch.header(), *batch.slabs(rows)]))


SIXTY_ROWS = (
    classes((60,), outputs=ALL),
    classes((5, 4, 3), outputs=ALL),
    classes((1, 60), outputs=ALL),
    probabilities((20, 5), outputs=GRADIENT),
    probabilities((5, 3, 4), outputs=GRADIENT, reduction=MEAN),
    probabilities((1, 3, 20), outputs=GRADIENT),
    binary((60,), outputs=GRADIENT),
    binary((6, 10), outputs=GRADIENT, reduction=MEAN),
)


@pytest.mark.parametrize(("batch", "target_rows", "input_rows"), pairs(SIXTY_ROWS, (1, 3, 4, 7, 12, 60), (1, 5, 8, 60)))
def test_targets_ahead_in_other_cuts(slab_channel, batch, target_rows, input_rows):
    messages = [batch.header(), *batch.slabs(target_rows, "target"), *batch.slabs(input_rows, "input")]
    batch.check(slab_channel, answers(slab_channel, messages))


@pytest.mark.parametrize("shape", [(60,), (5, 4, 3), (1, 60)])
def test_tensors_take_turns_in_own_cuts(slab_channel, shape):
    rng = np.random.default_rng(1)
    batch = classes(shape, outputs=ALL, sample_weight=rng.random(shape))
    slabs = {name: batch.slabs(rows, name) for name, rows in (("target", 7), ("sample_weight", 4), ("input", 3))}
    rows_of = {
        name: list(batch.layout.slabs(rows)) for name, rows in (("target", 7), ("sample_weight", 4), ("input", 3))
    }
    messages = [batch.header()]
    for i, rows in enumerate(rows_of["input"]):  # each just in time
        for name in ("target", "sample_weight"):
            while rows_of[name] and rows_of[name][0].first_row < rows.end_row:
                rows_of[name].pop(0)
                messages.append(slabs[name].pop(0))
        messages.append(slabs["input"][i])
    batch.check(slab_channel, answers(slab_channel, messages))


@pytest.mark.parametrize(
    "fields",
    [{"weighting": v1.ClassWeighting.CLASS_WEIGHTING_BALANCED}, {"outputs": GRADIENT, "reduction": MEAN}],
    ids=["weighting", "gradient of mean"],
)
def test_needed_targets_in_own_cuts(slab_channel, fields):
    batch = classes((5, 4, 3), sample_weight=np.random.default_rng(1).random((5, 4, 3)), **fields)
    messages = [batch.header(), *batch.slabs(7, "target"), *batch.slabs(4, "sample_weight", "input")]
    batch.check(slab_channel, answers(slab_channel, messages))


def test_element_factors_come_in_slabs(slab_channel):
    rng = np.random.default_rng(1)
    incoming = v1.OutputSpec(gradient=v1.GradientSpec(grad_output=tensor(rng.standard_normal((6, 10)))))
    batch = binary((6, 10), weight=tensor(rng.random((6, 10))), outputs=incoming, sample_weight=rng.random((6, 10)))
    batch.open += ["weight", "grad_output"]
    messages = [batch.header(), *batch.slabs(8, "weight"), *batch.slabs(60, "grad_output")]
    messages += batch.slabs(7, "target", "sample_weight", "input")
    batch.check(slab_channel, answers(slab_channel, messages))


def test_slab_is_answered_at_once(slab_channel):
    batch = classes(outputs=GRADIENT)
    stream, results = RawStream(slab_channel).send(batch.header()), []
    for slab in batch.slabs(20):
        stream.send(slab)
        results.append(stream.read())
    batch.check(slab_channel, [*results, stream.end().read()])


def test_slabs_of_another_writer_are_taken(slab_channel):
    batch = classes(outputs=GRADIENT)
    messages = [batch.header()]
    for rows in batch.layout.slabs(7):
        elements = {name: batch.elements(name, rows.first_row, rows.row_count) for name in ("target", "input")}
        slab = v1.Slab(first_row=rows.first_row, row_count=rows.row_count, padding=b"xyz", **elements)
        messages.append(v1.EvaluateStreamRequest(slab=slab).SerializeToString())
    batch.check(slab_channel, answers(slab_channel, messages))


def test_streams_on_one_connection_do_not_mix(slab_channel):
    batches = [classes((60,), count, outputs=ALL) for count in range(2, 8)]
    streams = [RawStream(slab_channel).send(batch.header()) for batch in batches]
    for slabs in zip(*(batch.slabs(11) for batch in batches), strict=True):
        for stream, slab in zip(streams, slabs, strict=True):
            stream.send(slab)
    for batch, stream in zip(batches, streams, strict=True):
        stream.end()
        batch.check(slab_channel, [stream.read() for _ in range(7)])


def sample(server: Server, name: str, **labels: str) -> float:
    return server.registry.get_sample_value(name, labels) or 0.0


def test_stream_is_counted():
    with serving() as server, connection(server) as channel:
        batch = classes(outputs=GRADIENT, reduction=MEAN)
        summary = answers(
            channel, [batch.header(series="train"), *batch.slabs(60, "target"), *batch.slabs(7, "input")]
        )[-1]
        assert isinstance(summary, v1.EvaluateResponse)
        assert sample(server, "grpc_server_started_total", **METHOD) == 1
        assert sample(server, "grpc_server_handled_total", **METHOD, grpc_code="OK") == 1
        assert sample(server, "grpc_server_msg_received_total", **METHOD) == 11
        assert sample(server, "grpc_server_msg_sent_total", **METHOD) == 10
        assert sample(server, "losswire_loss_sum_total", series="train", loss="cross_entropy") == summary.loss_sum
        assert sample(server, "losswire_weight_sum_total", series="train", loss="cross_entropy") == 60
        assert total(server.registry, "losswire_rows_total", series="train", transport="stream") == 60
        assert sample(server, "losswire_evaluation_seconds_count", loss="cross_entropy") == 1
        assert sample(server, "losswire_inflight_bytes") == 0
