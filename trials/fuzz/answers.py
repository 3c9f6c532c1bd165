"""Requests answered as the server answers them, without asyncio; and answers compared bit by bit."""

from functools import partial
from typing import Any

import ml_dtypes  # noqa: F401 - brings bfloat16 to numpy
import numpy as np

import ce_engine
from losswire import v1
from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS
from losswire.tensors import decode
from losswire_server.errors import TooLargeError
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests.known import KnownRequests
from losswire_server.requests.one import Respond, plan_request
from trials.fuzz.findings import FindingError, answer_or_refusal
from trials.fuzz.heads import HELD, TWINS
from trials.twin.batch import of_request
from trials.twin.check import WrongAnswerError, check_response

MAX_COMPARED_BYTES = 2**18  # of an input: the twin takes some thousand times as long as the engine

BUDGET_BYTES = 2**24  # that an input may reserve: no right answer to so few bytes takes more

End = v1.EvaluateResponse | Any  # or the status of a refusal


def limited(size: int) -> None:
    """Reserves what a request takes, up to a limit, as admission does."""
    if size > BUDGET_BYTES:
        raise TooLargeError(f"this call needs {size} bytes, and at most {BUDGET_BYTES} may be in flight")


def answered(request: v1.EvaluateRequest, regions: Regions = OFF) -> End:
    """The answer to a request that was parsed, or its refusal."""
    return answer_or_refusal(partial(_answer, request, regions))


def _answer(request: v1.EvaluateRequest, regions: Regions) -> v1.EvaluateResponse:
    return _evaluated(*plan_request(request, regions, reserve=limited, held=HELD))


def read_and_answered(known: KnownRequests, data: bytes) -> End:
    """The answer to the bytes of a request, or its refusal."""
    return answer_or_refusal(partial(_read_and_answer, known, data))


def _read_and_answer(known: KnownRequests, data: bytes) -> v1.EvaluateResponse:
    slab, respond, _ = known.read(data, HELD).plan(limited)
    return _evaluated(slab, respond)


def _evaluated(slab: ce_engine.Slab, respond: Respond) -> v1.EvaluateResponse:
    result: Any = ce_engine.evaluate(slab)
    return v1.EvaluateResponse.FromString(respond(result).to_bytes())


def check_twin(request: v1.EvaluateRequest, response: v1.EvaluateResponse) -> int:
    """Compares the answer to a request, which has all its elements, with the twin. Returns the rows compared.

    Raises:
        FindingError: They differ.
    """
    if request.ByteSize() > MAX_COMPARED_BYTES:
        return 0
    try:
        return check_response(of_request(request, TWINS), response)
    except WrongAnswerError as error:
        raise FindingError(f"a wrong answer: {error}") from error


def check_same(came: End, expected: End, what: str) -> None:
    """Raises a `FindingError` if two ends differ in a bit; NaN equals NaN."""
    both = isinstance(came, v1.EvaluateResponse) and isinstance(expected, v1.EvaluateResponse)
    if not (_same_responses(came, expected) if both else came == expected):
        raise FindingError(f"{what}: expected {_told(expected)}, got {_told(came)}")


def _same_responses(a: v1.EvaluateResponse, b: v1.EvaluateResponse) -> bool:
    numbers = all(_same_numbers(getattr(a, name), getattr(b, name)) for name in RESULT_NUMBERS)
    return numbers and all(_same_tensors(a, b, each.field) for each in RESULT_TENSORS)


def _same_numbers(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def _same_tensors(a: v1.EvaluateResponse, b: v1.EvaluateResponse, field: Any) -> bool:
    if a.HasField(field) != b.HasField(field):
        return False
    if not a.HasField(field) or getattr(a, field) == getattr(b, field):
        return True
    x, y = decode(getattr(a, field), field), decode(getattr(b, field), field)
    return x.dtype == y.dtype and x.shape == y.shape and bool(np.all((x == y) | ((x != x) & (y != y))))


def _told(end: End) -> str:
    return str(end).replace("\n", " ")[:300]
