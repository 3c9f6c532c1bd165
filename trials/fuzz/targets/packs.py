"""Many requests in one message. Each is answered or refused as it would be alone."""

import random
from collections.abc import Iterable
from typing import Any

import ce_engine
from losswire import v1
from losswire_server.memory.regions import OFF
from losswire_server.requests.known import KnownRequests
from losswire_server.requests.pack import Pack, cut
from losswire_server.requests.planned import Planned, Step
from trials.fuzz import generating, parts
from trials.fuzz.answers import check_same, check_twin, limited, read_and_answered
from trials.fuzz.findings import FindingError, answer_or_refusal, checked_status, hold
from trials.fuzz.heads import HELD
from trials.fuzz.mutating import changed_bytes, mutated

MAX_REQUESTS = 256
COMPARED = 4  # answers that the twin sees; the others equal those of a call of their own


def test(data: bytes) -> None:
    answer = answer_or_refusal(lambda: _answer(data))
    if not isinstance(answer, bytes):
        return
    results = v1.BatchEvaluateResponse.FromString(answer).results
    requests = cut(data, MAX_REQUESTS)
    hold(len(results) == len(requests), f"{len(requests)} requests got {len(results)} answers")
    for number, (result, request) in enumerate(zip(results, requests, strict=True)):
        _check(result, bytes(request), with_twin=number < COMPARED)


def _answer(data: bytes) -> bytes:
    pack = Pack(data, MAX_REQUESTS, OFF, heads=HELD)
    _do(pack.plan(limited))
    return pack.answer()


def _do(steps: Iterable[Step]) -> None:
    """Does what the desk does."""
    for step in steps:
        if not isinstance(step, Planned):
            continue
        try:
            result: Any = ce_engine.evaluate(step.slab)
            step.end(result)
        except Exception as error:  # noqa: BLE001 - as the desk
            checked_status(error)
            _do(step.failed(error))


def _check(result: v1.EvaluateResult, request: bytes, *, with_twin: bool) -> None:
    alone = read_and_answered(KnownRequests(), request)
    if not isinstance(alone, v1.EvaluateResponse):
        hold(result.failure.code == alone.value[0], f"alone it is {alone}, in a pack {result.failure}")
        return
    if not result.HasField("response"):
        raise FindingError(f"in a pack it is refused, alone it is not: {result.failure}")
    check_same(result.response, alone, "in a pack")
    if with_twin:
        check_twin(v1.EvaluateRequest.FromString(request), result.response)


def mutate(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return changed_bytes(data, rng)
    requests = parts.cut(data) or [b""]
    place = rng.randrange(len(requests))
    match rng.randrange(6):
        case 0:
            requests += [requests[place]] * rng.choice((1, 1, 2, 60))
        case 1:
            del requests[place]
        case 2:
            requests.append(seed_request(rng))
        case _:
            requests[place] = mutated(requests[place], rng)
    return parts.joined(requests[: MAX_REQUESTS + 1])


def seed(rng: random.Random) -> bytes:
    one = generating.request(rng)
    alike = [generating.alike(rng, one).SerializeToString() for _ in range(rng.randint(0, 3))]
    return parts.joined([one.SerializeToString(), *alike, *(seed_request(rng) for _ in range(rng.randint(0, 2)))])


def seed_request(rng: random.Random) -> bytes:
    return generating.request(rng).SerializeToString()
