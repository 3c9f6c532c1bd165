"""From the requests of one pack to one answer. Each request succeeds or fails by itself."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import grpc

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.losses import loss_of
from losswire.parsing import parse
from losswire.payloads import parse_apart
from losswire.wire import LENGTH_DELIMITED, read_fields
from losswire_server.errors import NotServedError, OverloadedError, log_failure, to_rpc_status, to_status
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.memory.regions import Regions
from losswire_server.requests.ends import Evaluated, Labels, answer_bytes, shared_bytes
from losswire_server.requests.groups import Group, Request, fill_responses, grouped, plan_alike
from losswire_server.requests.heads.permitted import permitted
from losswire_server.requests.needed import Reserve, unreserved
from losswire_server.requests.one import Respond, plan_request
from losswire_server.requests.permission import ANYTHING, Permission
from losswire_server.requests.planned import Planned, Step
from losswire_server.requests.runs.exact import Exact
from losswire_server.requests.runs.keyed import Keyed
from losswire_server.runs.absent import Outcome
from losswire_server.runs.records import Entry

REQUESTS = v1.BatchEvaluateRequest.DESCRIPTOR.fields_by_name["requests"].number

log = logging.getLogger(__name__)


class Pack:
    """The requests of one message. Plan them once. A request that its caller may not make fails alone.

    Attributes:
        groups: The requests in groups.

    Raises:
        FieldError: There are no requests, or too many, or the bytes are no message.
        NotServedError: The message has fields that this server does not know.
    """

    def __init__(
        self,
        data: bytes,
        max_requests: int,
        regions: Regions,
        permission: Permission = ANYTHING,
        heads: UsesHeads = NO_HEADS,
    ) -> None:
        requests = cut(data, max_requests)
        self.groups = grouped(requests, permission)
        self._regions = regions
        self._heads = permitted(heads, permission)
        self._reserve: Reserve = unreserved
        self._permission = permission
        self._response = v1.BatchEvaluateResponse()
        self._results = [self._response.results.add() for _ in requests]
        self._entries: list[tuple[Request, Entry]] = []  # engine threads add to it

    def plan(self, reserve: Reserve = unreserved, *, take_apart: bool = True) -> Iterator[Step]:
        """Plans the requests: groups together, others one by one.

        Args:
            reserve: Holds what requests take, before anything is allocated for them. If it says that too much is in
                flight, this ends the whole pack; other errors are the request's alone.
            take_apart: Whether to find out which requests are wrong when a group fails; if not, the error is raised.
        """
        self._reserve = reserve
        for group in self.groups:
            yield from self._plan(group, take_apart)

    def entries(self) -> list[Entry]:
        """What the requests add to runs, once all have ended."""
        return [entry for _, entry in self._entries]

    def settle(self, outcomes: Sequence[Outcome]) -> dict[int, grpc.StatusCode]:
        """Takes in what came of each entry. Returns the codes of requests whose entries were refused, by number."""
        refused = {}
        for (request, _), outcome in zip(self._entries, outcomes, strict=True):
            if isinstance(outcome, Exception):
                refused[request.number] = self._fail(request, outcome)
            elif outcome:
                self._results[request.number].response.was_counted = True
        return refused

    def answer(self) -> bytes:
        """The bytes of a BatchEvaluateResponse, once all have ended and their entries are settled."""
        return self._response.SerializeToString()

    def _plan(self, group: Group, take_apart: bool) -> Iterator[Step]:
        if group.problem is not None:
            for request in group.requests:
                yield self._fail(request, group.problem)
        elif not group.can_be_stacked or len(group.requests) == 1:
            yield from self._each_alone(group.requests)
        elif take_apart:
            yield from self._in_halves(group.requests)
        else:
            yield self._together(group.requests)

    def _in_halves(self, requests: list[Request]) -> Iterator[Step]:
        """Plans requests together. If that fails, it does so with each half, so that only wrong requests fail."""
        if len(requests) == 1:
            yield self._alone(requests[0])
            return
        try:
            planned = self._together(requests)
        except OverloadedError:
            raise
        except Exception as error:  # noqa: BLE001 - it will come again, with the request at fault
            log.debug("requests taken apart", extra={"requests": len(requests), "problem": str(error)})
        else:
            yield planned
            return
        half = len(requests) // 2
        yield from self._in_halves(requests[:half])
        yield from self._in_halves(requests[half:])

    def _together(self, requests: list[Request]) -> Planned:
        first = parse(v1.EvaluateRequest, requests[0].data)
        slab = plan_alike(first, [request.elements for request in requests], self._reserve)
        responses = [self._results[request.number].response for request in requests]
        evaluated = Evaluated(Labels.of(first, "pack"), responses, slab.kind.class_count)
        keyed = _each_keyed(first, requests)
        end = partial(self._end_together, evaluated, requests, keyed, first.HasField("exact"))
        return Planned(slab, end, lambda _: self._each_alone(requests))

    def _each_alone(self, requests: Iterable[Request]) -> Iterator[Step]:
        return (self._alone(request) for request in requests)

    def _alone(self, request: Request) -> Step:
        try:
            message, payloads = parse_apart(v1.EvaluateRequest, request.data)
            self._permission.check(loss_of(message.spec), message.series)
            self._permission.check_run(message.run_key.run)
            slab, respond = plan_request(message, self._regions, payloads, self._reserve, self._heads)
            keyed = Keyed.of(message, payloads)
        except OverloadedError:  # nothing is wrong with it, and the others do not fit either
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other requests are answered
            return self._fail(request, error)
        response = self._results[request.number].response
        received = len(request.data) + shared_bytes(message)
        labels = Labels.of(message, "pack")
        evaluated = Evaluated(labels, [response], slab.kind.class_count, None, received, numbers=[request.number])
        end = partial(self._end_alone, evaluated, request, keyed, respond)
        return Planned(slab, end, lambda error: [self._fail(request, error)])

    def _fail(self, request: Request, error: Exception) -> grpc.StatusCode:
        self._results[request.number].failure.ParseFromString(to_rpc_status(error).SerializeToString())
        code = to_status(error).code
        log_failure(error, code, "BatchEvaluate")
        return code

    def _end_together(
        self,
        evaluated: Evaluated,
        requests: list[Request],
        keyed: list[Keyed],  # one for each request, or none
        with_exact: bool,
        result: ce_engine.StackedResult,
    ) -> Evaluated:
        fill_responses(evaluated.responses, result, with_exact=with_exact)
        for number, place in enumerate(keyed):
            self._entries.append((requests[number], place.entry(Exact.of(result[number]))))
        whole = _with(evaluated._replace(received_bytes=_size(requests)), result.tally)
        if not keyed:
            return whole
        only = partial(_only, evaluated, requests, result.tally_of)
        return whole._replace(numbers=[request.number for request in requests], only=only)

    def _end_alone(
        self, evaluated: Evaluated, request: Request, keyed: Keyed | None, respond: Respond, result: Any
    ) -> Evaluated:
        evaluated.responses[0].CopyFrom(respond(result).message())
        if keyed is not None:
            self._entries.append((request, keyed.entry(Exact.of(result))))
        return _with(evaluated, result.tally)


def _each_keyed(first: v1.EvaluateRequest, requests: list[Request]) -> list[Keyed]:
    """The places of requests of the first one's form; none if these are in no run."""
    keyed = Keyed.of(first)
    return [] if keyed is None else [keyed.at(request.run_key or first.run_key) for request in requests]


def _only(
    evaluated: Evaluated,
    requests: list[Request],
    tally_of: Callable[[Sequence[int]], ce_engine.Tally] | None,
    places: Sequence[int],
) -> Evaluated:
    """Some requests of those that were evaluated together."""
    responses, received = [evaluated.responses[place] for place in places], _size([requests[place] for place in places])
    some = evaluated._replace(responses=responses, received_bytes=received)
    return _with(some, None if tally_of is None else tally_of(places))


def _size(requests: Iterable[Request]) -> int:
    return sum(len(request.data) for request in requests)


def _with(evaluated: Evaluated, tally: ce_engine.Tally | None) -> Evaluated:
    """What was evaluated, with what came of it."""
    sent = sum(answer_bytes(response, response.ByteSize()) for response in evaluated.responses)
    return evaluated._replace(tally=tally, sent_bytes=sent)


def cut(data: bytes, max_requests: int) -> list[memoryview]:
    """The bytes of each request. They are not parsed: two bytes of a message can take a hundred once parsed.

    Raises:
        FieldError: There are no requests, or too many, or the bytes are no message.
        NotServedError: The message has fields that this server does not know.
    """
    requests = []
    for number, kind, value in read_fields(memoryview(data), "request", max_requests + 1):
        if (number, kind) != (REQUESTS, LENGTH_DELIMITED) or not isinstance(value, memoryview):
            problem = f"this server does not know its field number {number}; it is older than the caller"
            raise NotServedError("request", problem)
        requests.append(value)
        if len(requests) > max_requests:
            raise FieldError("requests", f"expected at most {max_requests}, got more")
    if not requests:
        raise FieldError("requests", "expected at least one, got none")
    return requests
