"""One request in one message. A request that is known already is answered as it would be anew."""

import random
from functools import partial

from losswire import v1
from losswire_server.requests.known import KnownRequests
from trials.fuzz import generating
from trials.fuzz.answers import check_same, check_twin, read_and_answered
from trials.fuzz.mutating import changed_bytes, mutated


def test(data: bytes) -> None:
    known = KnownRequests()
    first = read_and_answered(known, data)
    if not isinstance(first, v1.EvaluateResponse):
        return
    request = v1.EvaluateRequest.FromString(data)
    check_twin(request, first)
    check_same(read_and_answered(known, data), first, "the same request again")
    for variant in _variants(request):
        check_same(read_and_answered(known, variant), read_and_answered(KnownRequests(), variant), "a known request")


def _variants(request: v1.EvaluateRequest) -> list[bytes]:
    """Requests of the same form with other elements, or too few."""
    last = request.input.data[-1:] or b"\0"
    changes = (
        partial(_replace, "input", request.input.data[:-1]),
        partial(_replace, "target", request.target.data[::-1]),
        partial(_replace, "input", request.input.data[:-1] + bytes([last[0] ^ 1])),
    )
    return [change(request) for change in changes]


def _replace(name: str, data: bytes, request: v1.EvaluateRequest) -> bytes:
    other = v1.EvaluateRequest()
    other.CopyFrom(request)
    getattr(other, name).data = data
    return other.SerializeToString()


def mutate(data: bytes, rng: random.Random) -> bytes:
    return changed_bytes(data, rng) if rng.random() < 0.2 else mutated(data, rng)


def seed(rng: random.Random) -> bytes:
    return generating.request(rng).SerializeToString()
