"""The requests of one message, cut apart, and those that are alike put together."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from google.protobuf.message import DecodeError

from losswire import v1
from losswire.errors import FieldError
from losswire.losses import is_weighted_by_targets
from losswire.parsing import FEW_FIELDS_BYTES, check_field_count
from losswire.tensors import MAX_ELEMENTS
from losswire.wire import LENGTH_DELIMITED, read_fields
from losswire_server.errors import NotServedError
from losswire_server.requests.check import check_request

REQUESTS = v1.BatchEvaluateRequest.DESCRIPTOR.fields_by_name["requests"].number
Own = Literal["target", "sample_weight", "input"]
OWN: tuple[Own, ...] = ("target", "sample_weight", "input")  # whose elements differ among requests that are alike
MAX_STACKED_BYTES = 2**16  # of a request: joining the elements of larger ones costs more than it saves


class Request(NamedTuple):
    """One of the requests of a message.

    Attributes:
        place: Its number, from 0 on.
        data: Its bytes, an EvaluateRequest.
        elements: Those of its own tensors, by the names of their fields.
    """

    place: int
    data: memoryview
    elements: dict[str, bytes]


class Group(NamedTuple):
    """Requests that have all in common but the elements of their own tensors; or one that is to be evaluated alone.

    Attributes:
        requests: At least one.
        can_be_stacked: Whether they may be evaluated together.
        elements: Of the inputs of all of them, if they may.
        problem: What is wrong with each of them, if that is known already.
    """

    requests: list[Request]
    can_be_stacked: bool = False
    elements: int = 0
    problem: Exception | None = None


def cut(data: bytes, max_requests: int) -> list[memoryview]:
    """The bytes of each request, by hand: parsed, what takes two bytes in a message takes a hundred.

    Raises:
        FieldError: There are none, or too many, or the bytes are no message.
        NotServedError: It has fields that this server does not know.
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


def grouped(requests: Sequence[memoryview]) -> list[Group]:
    """Puts those together that are alike."""
    groups: list[Group] = []
    alike: dict[bytes, list[Request]] = {}
    for place, data in enumerate(requests):
        try:
            form, elements = _taken_apart(data)
        except (DecodeError, FieldError) as error:
            groups.append(Group([Request(place, data, {})], problem=error))
            continue
        request = Request(place, data, elements)
        if form is None:
            groups.append(Group([request]))
        else:
            alike.setdefault(form, []).append(request)
    for form, members in alike.items():
        groups += _groups_of(v1.EvaluateRequest.FromString(form), members)
    return groups


def _taken_apart(data: memoryview) -> tuple[bytes | None, dict[str, bytes]]:
    """All of a request but the elements of its own tensors, unknown fields too; and these elements.

    Raises:
        FieldError: See `parse`.
        DecodeError: It is no request.
    """
    if len(data) > MAX_STACKED_BYTES:
        return None, {}
    request = v1.EvaluateRequest.FromString(bytes(data))
    elements: dict[str, bytes] = {}
    for name in OWN:
        if request.HasField(name):
            tensor = getattr(request, name)
            elements[name] = tensor.data
            tensor.ClearField("data")
    if len(data) - sum(map(len, elements.values())) > FEW_FIELDS_BYTES:
        check_field_count(v1.EvaluateRequest, bytes(data))
    return request.SerializeToString(), elements


def _groups_of(form: v1.EvaluateRequest, requests: list[Request]) -> list[Group]:
    try:
        if len(requests) > 1:  # what is alone is checked when it is evaluated
            check_request(form)
    except (FieldError, NotServedError) as error:
        return [Group(requests, problem=error)]
    if _can_be_stacked(form):
        elements = len(requests) * max(0, min(math.prod(form.input.shape), MAX_ELEMENTS))  # a shape may be wrong
        return [Group(requests, can_be_stacked=True, elements=elements)]
    return [Group([request]) for request in requests]


def _can_be_stacked(form: v1.EvaluateRequest) -> bool:
    """Whether all that differs between requests of this form is in their messages, and counts for the rows only."""
    if is_weighted_by_targets(form.spec) or form.outputs.gradient.HasField("destination"):
        return False
    return not any(getattr(form, name).HasField("shared_memory") for name in OWN)
