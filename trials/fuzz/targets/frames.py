"""Messages of a stream. What is read by hand is what protobuf reads, and what is written by hand too."""

import random

import numpy as np
from google.protobuf.message import DecodeError

from losswire import v1
from losswire.frames import ALIGNMENT, REQUESTS, RESPONSES, SlabFrame
from trials.fuzz import generating
from trials.fuzz.findings import answer_or_refusal, hold
from trials.fuzz.mutating import changed_bytes, mutated
from trials.fuzz.slabs import messages_of


def test(data: bytes) -> None:
    read = answer_or_refusal(lambda: REQUESTS.read(data))
    if isinstance(read, SlabFrame):
        _check_slab(read, data)
    elif isinstance(read, v1.EvaluateRequest):
        whole = v1.EvaluateStreamRequest.FromString(data)
        hold(whole.header == read and whole.WhichOneof("part") == "header", "protobuf reads another header")


def _check_slab(frame: SlabFrame, data: bytes) -> None:
    try:
        slab = v1.EvaluateStreamRequest.FromString(data).slab
    except DecodeError:
        hold(bool(frame.unknown), "protobuf cannot read a slab that has known fields alone")
        return
    hold((slab.first_row, slab.row_count) == (frame.first_row, frame.row_count), "protobuf reads other rows")
    for name in ("target", "sample_weight", "weight", "grad_output", "input"):
        hold(getattr(slab, name) == bytes(frame.payloads.get(name, b"")), f"protobuf reads another {name}")
    _check_writing(frame)


def _check_writing(frame: SlabFrame) -> None:
    payloads = {
        "gradient": frame.payloads.get("input", memoryview(b"")),
        "loss": memoryview(bytes(frame.row_count % 99)),
    }
    first, count = frame.first_row & 2**63 - 1, frame.row_count & 2**63 - 1
    message = RESPONSES.write(first, count, payloads)
    again, slab = RESPONSES.read(message), v1.EvaluateStreamResponse.FromString(message).slab
    hold(
        isinstance(again, SlabFrame) and dict(again.payloads) == payloads, "what was written is read as something else"
    )
    hold((slab.first_row, slab.row_count) == (first, count), "protobuf reads other rows than were written")
    hold(slab.gradient == bytes(payloads["gradient"]), "protobuf reads another gradient than was written")
    if isinstance(again, SlabFrame):
        places = [_address(payload) - _address(message) for payload in again.payloads.values() if payload]
        hold(not any(place % ALIGNMENT for place in places), f"payloads lie at bytes {places}")


def _address(data: bytes | memoryview) -> int:
    return int(np.frombuffer(data, np.uint8).ctypes.data)


def mutate(data: bytes, rng: random.Random) -> bytes:
    return changed_bytes(data, rng) if rng.random() < 0.3 else mutated(data, rng, v1.EvaluateStreamRequest)


def seed(rng: random.Random) -> bytes:
    return rng.choice(messages_of(generating.request(rng, rows_at_least=1), rng.randint(1, 5), rng))
