"""Streams that break the contract: each gets an error that says what is wrong, and no other caller notices."""

import grpc
import pytest

from losswire import v1
from losswire.frames import REQUESTS
from tests.proto.wire import LENGTH_DELIMITED, VARINT, field
from tests.server.calls.raw_streams import Batch
from tests.server.requests.stream_requests import GRADIENT, MEAN, check_refused, classes, probabilities

HUGE = 2**62

pytestmark = pytest.mark.usefixtures("neighbour")


def slab(first_row: int, row_count: int, **payloads: bytes) -> bytes:
    return v1.EvaluateStreamRequest(
        slab=v1.Slab(first_row=first_row, row_count=row_count, **payloads)
    ).SerializeToString()


def with_targets_here(batch: Batch) -> Batch:
    batch.open = ["input"]
    return batch


BATCH, NARROW = classes(outputs=GRADIENT), with_targets_here(classes(outputs=GRADIENT))
IMAGES, SOFT = classes((4, 6)), probabilities((60, 5))
MEANS, WEIGHED = (
    classes(reduction=MEAN, outputs=GRADIENT),
    classes(weighting=v1.ClassWeighting.CLASS_WEIGHTING_BALANCED),
)
ROWS = bytes(20 * 5 * 4)  # input of 20 rows
TARGETS = bytes(20 * 8)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "part: expected a header first, got nothing"),
        ([b""], "part: expected a header first, got nothing"),
        ([BATCH.slab(0, 20)], "part: expected a header first, got a slab"),
        ([BATCH.header(), b""], "part: expected exactly one of header and slab, got nothing"),
        ([BATCH.header(), BATCH.header()], "header: expected one header, got another"),
        ([BATCH.header(), BATCH.slab(0, 20), BATCH.header()], "header: expected one header, got another"),
        ([BATCH.header()], "slab.input: expected all 60 rows, got only the first 0"),
        ([BATCH.header(), BATCH.slab(0, 59)], "slab.input: expected all 60 rows, got only the first 59"),
        ([BATCH.header(), *BATCH.slabs(60, "target")], "slab.input: expected all 60 rows, got only the first 0"),
        ([BATCH.header(), b"garbage"], "part: expected wire types 0, 1, 2 and 5, got 7"),
        ([b"\x0a\x02\xff\xff"], "request: expected a message of the contract, got bytes that are not one"),
    ],
)
def test_incomplete_messages_are_refused(slab_channel, messages, problem):
    check_refused(slab_channel, messages, problem)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([BATCH.slab(20, 20)], "slab.target: expected elements from row 0 on, got some from row 20 on"),
        ([BATCH.slab(0, 20), BATCH.slab(0, 20)], "slab.target: expected elements from row 20 on, got some from row 0"),
        (
            [BATCH.slab(0, 20), BATCH.slab(19, 20)],
            "slab.target: expected elements from row 20 on, got some from row 19",
        ),
        ([NARROW.slab(20, 20)], "slab.first_row: expected input from row 0 on, got rows from 20 on"),
        ([NARROW.slab(0, 20), NARROW.slab(0, 20)], "slab.first_row: expected input from row 20 on, got rows from 0 on"),
        ([NARROW.slab(0, 20), NARROW.slab(19, 2)], "slab.first_row: expected input from row 20 on, got rows from 19"),
        ([NARROW.slab(0, 20), NARROW.slab(40, 20)], "slab.first_row: expected input from row 20 on, got rows from 40"),
        ([NARROW.slab(0, 60), NARROW.slab(0, 60)], "slab.first_row: expected input from row 60 on, got rows from 0 on"),
        ([slab(50, 20, input=ROWS)], "slab.row_count: expected rows of a batch that has 60, got 20 from row 50 on"),
        ([slab(60, 1, input=ROWS)], "slab.row_count: expected rows of a batch that has 60, got 1 from row 60 on"),
        ([slab(-1, 20, input=ROWS)], "slab.row_count: expected rows of a batch that has 60, got 20 from row -1 on"),
        ([slab(-(2**63), 20, input=ROWS)], "got 20 from row -9223372036854775808 on"),
        ([slab(0, 0, input=ROWS)], "slab.row_count: expected rows of a batch that has 60, got 0 from row 0 on"),
        ([slab(0, 0)], "slab.row_count: expected rows of a batch that has 60, got 0 from row 0 on"),
        ([slab(0, -5, input=ROWS)], "slab.row_count: expected rows of a batch that has 60, got -5 from row 0 on"),
        ([slab(0, HUGE, input=ROWS)], f"slab.row_count: expected rows of a batch that has 60, got {HUGE} from row 0"),
        ([slab(HUGE, HUGE, input=ROWS)], f"slab.row_count: expected rows of a batch that has 60, got {HUGE} from row"),
        ([slab(0, 20)], "slab: expected elements of a tensor, got none"),
    ],
)
def test_rows_must_come_in_order(slab_channel, messages, problem):
    header = NARROW.header() if "first_row" in problem else BATCH.header()
    check_refused(slab_channel, [header, *messages], problem)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([slab(0, 20, target=TARGETS, input=ROWS[:-1])], "slab.input: expected 400 bytes for float32 of shape (20, 5)"),
        ([slab(0, 20, target=TARGETS, input=ROWS + b"a")], "slab.input: expected 400 bytes for float32 of shape"),
        (
            [REQUESTS.write(0, 20, {"input": memoryview(b"")})],
            "slab.input: expected 400 bytes for float32 of shape (20, 5), got 0",
        ),
        ([slab(0, 20, target=TARGETS[:-8], input=ROWS)], "slab.target: expected 160 bytes for int64 of shape (20,)"),
        ([slab(0, 20, target=TARGETS * 2, input=ROWS)], "slab.target: expected 160 bytes for int64 of shape (20,)"),
        (
            [slab(0, 20, target=TARGETS, sample_weight=b"1")],
            "slab.sample_weight: expected no elements, since the header",
        ),
        ([slab(0, 20, weight=b"1234")], "slab.weight: expected no elements, since the header says that it has none"),
        (
            [slab(0, 20, grad_output=b"1234")],
            "slab.grad_output: expected no elements, since the header says that it has",
        ),
        ([slab(0, 20, input=ROWS)], "slab.target: expected the elements of all rows up to 20 by now, got rows up to 0"),
        ([slab(0, 10, target=TARGETS[:80]), slab(0, 20, input=ROWS)], "slab.target: expected the elements of all rows"),
        ([slab(0, 20, target=b"\x09" + TARGETS[1:], input=ROWS)], "target: expected classes in [0, 5)"),
    ],
)
def test_elements_must_fit_the_rows(slab_channel, messages, problem):
    check_refused(slab_channel, [BATCH.header(), *messages], problem)


@pytest.mark.parametrize(
    ("header", "messages", "problem"),
    [
        (NARROW, [BATCH.slab(0, 20)], "slab.target: expected no elements, since the header says that it is complete"),
        (SOFT, [slab(0, 20, target=ROWS, input=ROWS)], "slab.target: expected 800 bytes for float64 of shape (20, 5)"),
        (IMAGES, [slab(0, 7, target=TARGETS[:56])], "slab.row_count: expected whole samples of 6 rows, or rows of one"),
        (IMAGES, [slab(3, 6, target=TARGETS[:48])], "slab.row_count: expected whole samples of 6 rows, or rows of one"),
        (
            MEANS,
            [MEANS.slab(0, 20)],
            "slab.target: expected all targets ahead of the input, since each result depends on all of them",
        ),
        (WEIGHED, [WEIGHED.slab(0, 60, "input")], "slab.target: expected all targets ahead of the input"),
        (WEIGHED, [*WEIGHED.slabs(59, "target")[:1], *WEIGHED.slabs(9, "input")], "slab.target: expected all targets"),
        (
            WEIGHED,
            [*WEIGHED.slabs(60, "target") * 2],
            "slab.target: expected elements from row 60 on, got some from row",
        ),
    ],
)
def test_slabs_must_fit_the_header(slab_channel, header, messages, problem):
    check_refused(slab_channel, [header.header(), *messages], problem)


def test_late_targets_are_refused(slab_channel):
    messages = [MEANS.header(), *MEANS.slabs(60, "target"), MEANS.slab(0, 20, "input"), MEANS.slab(0, 60, "target")]
    check_refused(slab_channel, messages, "slab.target: expected")


def test_slabs_after_a_full_header_are_refused(slab_channel):
    batch = classes()
    batch.open = []
    problem = "slab: expected none, since the header has all elements of the input"
    check_refused(slab_channel, [batch.header(), BATCH.slab(0, 20)], problem)


def test_open_targets_need_an_open_input(slab_channel):
    batch = classes()
    batch.open = ["target"]
    check_refused(slab_channel, [batch.header()], "target: expected 480 bytes for int64 of shape (60,), got 0")


@pytest.mark.parametrize(
    "message",
    [
        field(2, LENGTH_DELIMITED, field(1, VARINT, 0) + field(2, VARINT, 20) + field(99, VARINT, 1)),
        BATCH.slab(0, 20)[:0] + field(2, LENGTH_DELIMITED, REQUESTS.write(0, 1, {})[2:] + field(15, VARINT, 1)),
    ],
    ids=["number", "wire type"],
)
def test_unknown_field_of_a_slab_is_not_served(slab_channel, message):
    problem = "slab: this server does not know its field number"
    check_refused(slab_channel, [BATCH.header(), message], problem, grpc.StatusCode.UNIMPLEMENTED)


def test_unknown_header_field_is_refused(slab_channel):
    header = v1.EvaluateStreamRequest.FromString(BATCH.header()).header.SerializeToString() + field(99, VARINT, 1)
    message = field(1, LENGTH_DELIMITED, header)
    problem = "request: this server does not know its field number 99"
    check_refused(slab_channel, [message], problem, grpc.StatusCode.UNIMPLEMENTED)
