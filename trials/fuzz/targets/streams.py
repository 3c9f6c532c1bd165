"""A header and slabs. What a stream answers has the bits of one message's answer."""

import random
from typing import Any, NamedTuple

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS, RESPONSES, SlabFrame
from losswire_server.errors import TooLargeError
from losswire_server.requests.slabs.stream_header import StreamHeader, leaves_input_open
from losswire_server.requests.slabs.stream_request import StreamRequest
from trials.fuzz import generating, parts
from trials.fuzz.answers import answered, check_same, check_twin
from trials.fuzz.findings import answer_or_refusal, hold
from trials.fuzz.heads import HELD
from trials.fuzz.mutating import changed_bytes, mutated
from trials.fuzz.slabs import layout_of, messages_of, whole, with_results

MOST_SLABS = 20  # of a seed
MAX_ROW_BYTES = 2**20  # in place of a message's limit: a row that is longer is refused
HELD_BYTES, HELD_A_BYTE, HELD_A_MESSAGE = 4096, 4, 4096  # that a stream may hold of what came


class Streamed(NamedTuple):
    header: v1.EvaluateRequest
    frames: list[SlabFrame]
    response: v1.EvaluateResponse


def test(data: bytes) -> None:
    streamed = answer_or_refusal(lambda: stream(parts.cut(data)))
    if not isinstance(streamed, Streamed):
        return
    request = whole(streamed.header, streamed.frames)
    check_same(streamed.response, answered(request), "in slabs")
    check_twin(request, streamed.response)


def stream(messages: list[bytes]) -> Streamed:
    """Does what a stream's call does with its messages."""
    header = REQUESTS.read(messages[0]) if messages else None
    if not isinstance(header, v1.EvaluateRequest) or not leaves_input_open(header):
        raise FieldError("part", "expected a header with an open input first")
    checked = StreamHeader.of(header, HELD)
    if checked.row_bytes > MAX_ROW_BYTES:
        raise TooLargeError(f"a row has {checked.row_bytes} bytes")
    request, came = StreamRequest(checked), len(messages[0])
    frames, replies = [], []
    for message in messages[1:]:
        frame = REQUESTS.read(message)
        if not isinstance(frame, SlabFrame):
            raise FieldError("header", "expected one header, got another")
        frames.append(frame)
        replies += _reply(request, frame)
        came += len(message) + HELD_A_MESSAGE
        hold(request.held_bytes <= HELD_A_BYTE * came + HELD_BYTES, f"{came} bytes hold {request.held_bytes}")
    return Streamed(header, frames, with_results(request.summary(), replies, checked.layout))


def _reply(request: StreamRequest, frame: SlabFrame) -> list[SlabFrame]:
    part = request.plan(frame)
    if part is None:
        return []
    results: Any = ce_engine.evaluate(part.slab)
    end = part.end(results)
    request.add(end)
    reply = None if end.reply is None else RESPONSES.read(end.reply)
    return [reply] if isinstance(reply, SlabFrame) else []


def mutate(data: bytes, rng: random.Random) -> bytes:
    messages = parts.cut(data) or [b""]
    place = rng.randrange(len(messages))
    match rng.randrange(8):
        case 0:
            del messages[place]
        case 1:
            messages.insert(rng.randint(0, len(messages)), messages[place])
        case 2:
            other = rng.randrange(len(messages))
            messages[place], messages[other] = messages[other], messages[place]
        case 3:
            return changed_bytes(data, rng)
        case 4:
            return seed(rng)
        case 5:
            messages[0] = mutated(messages[0], rng, v1.EvaluateStreamRequest)
        case _:
            messages[place] = mutated(messages[place], rng, v1.EvaluateStreamRequest)
    return parts.joined(messages[: parts.MOST])


def seed(rng: random.Random) -> bytes:
    request = generating.request(rng, rows_at_least=1)
    rows = max(rng.choice((1, 2, 3, 6, 100)), layout_of(request).row_count // MOST_SLABS)
    return parts.joined(messages_of(request, rows, rng))
