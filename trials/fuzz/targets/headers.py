"""Headers of streams, whatever they announce. They are checked and planned without the elements that they announce."""

import random

from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS
from losswire_server.requests.check import check_request
from losswire_server.requests.one import plan_request
from losswire_server.requests.slabs.stream_header import StreamHeader, leaves_input_open
from losswire_server.requests.slabs.stream_request import StreamRequest
from trials.fuzz import generating
from trials.fuzz.answers import limited
from trials.fuzz.findings import FindingError, answer_or_refusal, hold
from trials.fuzz.heads import HELD
from trials.fuzz.mutating import changed_bytes, mutated
from trials.fuzz.slabs import opened

MAX_ROW_BYTES = 2**26  # of a row: a stream with longer rows is refused by its call


def test(data: bytes) -> None:
    answer_or_refusal(lambda: _read(data))


def _read(data: bytes) -> None:
    header = REQUESTS.read(data)
    if not isinstance(header, v1.EvaluateRequest):
        raise FieldError("part", "expected a header first, got a slab")
    if not leaves_input_open(header):
        plan_request(header, reserve=limited, held=HELD)
        return
    checked = StreamHeader.of(header, HELD)
    _check(header, checked)
    if checked.row_bytes <= MAX_ROW_BYTES:
        request = StreamRequest(checked)
        hold(not request.is_complete, "a stream is complete before its input came")
        hold(request.held_bytes <= 2 * len(data) + 4096, f"{len(data)} bytes hold {request.held_bytes}")


def _check(header: v1.EvaluateRequest, checked: StreamHeader) -> None:
    try:
        check_request(header)
    except Exception as error:
        raise FindingError(f"a stream takes a header that a call refuses: {error}") from error
    hold(checked.layout.shape == tuple(header.input.shape), "the layout is not the input's")
    hold(checked.layout.row_count > 0 and checked.row_bytes > 0, "an input that is open has no elements")


def mutate(data: bytes, rng: random.Random) -> bytes:
    return changed_bytes(data, rng) if rng.random() < 0.2 else mutated(data, rng, v1.EvaluateStreamRequest)


def seed(rng: random.Random) -> bytes:
    request = generating.request(rng, rows_at_least=1)
    return v1.EvaluateStreamRequest(header=opened(request, rng)).SerializeToString()
