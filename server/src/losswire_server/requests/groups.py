"""Groups requests that differ in their numbers alone. A group is read, checked, planned and evaluated once."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from google.protobuf.message import DecodeError

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS, heads_of, is_weighted_by_targets, loss_of
from losswire.parsing import FEW_FIELDS_BYTES, check_field_count
from losswire_server.errors import NotPermittedError, NotServedError
from losswire_server.requests.check import check_request
from losswire_server.requests.cost import element_count_of
from losswire_server.requests.decoding import from_bytes, to_torch
from losswire_server.requests.encoding import fill_each
from losswire_server.requests.needed import Reserve, needed_bytes, unreserved
from losswire_server.requests.permission import ANYTHING, Permission
from losswire_server.requests.planning import PLANS, arguments, summing
from losswire_server.requests.runs.exact import Exact, exactness

Own = Literal["target", "sample_weight", "target_classes", "labels", "input"]
OWN: tuple[Own, ...] = get_args(Own)  # fields whose elements may differ in a group
MAX_STACKED_BYTES = 2**16  # joining the elements of larger requests costs more than it saves


class Request(NamedTuple):
    """One of the requests of a message.

    Attributes:
        number: Its position among them, from 0 on.
        data: Its bytes, an EvaluateRequest.
        elements: Elements of its own tensors, by the names of their fields.
        run_key: Its place in a run, with its own names; None if it is in none.
    """

    number: int
    data: memoryview
    elements: dict[str, bytes]
    run_key: v1.RunKey | None = None


class Apart(NamedTuple):
    """A request that is taken apart.

    Attributes:
        form: Its bytes without the elements of its own tensors and without the names of its key and slice, but with
            unknown fields; None if it is too large for that.
        elements: These elements, by the names of the tensors' fields.
        run_key: Its place in a run, with these names; None if it is in none.
    """

    form: bytes | None
    elements: dict[str, bytes]
    run_key: v1.RunKey | None = None


class Group(NamedTuple):
    """Requests that differ in the elements of their own tensors alone, or one request.

    Attributes:
        requests: At least one.
        can_be_stacked: Whether they may be evaluated together.
        elements: How many are evaluated for all of them, if they may be evaluated together: see `element_count_of`.
        problem: The error of each of them, if it is known already.
    """

    requests: list[Request]
    can_be_stacked: bool = False
    elements: int = 0
    problem: Exception | None = None


def grouped(requests: Sequence[memoryview], permission: Permission = ANYTHING) -> list[Group]:
    """Puts the requests of a caller into groups."""
    groups: list[Group] = []
    alike: dict[bytes, list[Request]] = {}
    for number, data in enumerate(requests):
        try:
            apart = taken_apart(data)
        except (DecodeError, FieldError) as error:
            groups.append(Group([Request(number, data, {})], problem=error))
            continue
        request = Request(number, data, apart.elements, apart.run_key)
        if apart.form is None:
            groups.append(Group([request]))
        else:
            alike.setdefault(apart.form, []).append(request)
    for form, members in alike.items():
        groups += _groups_of(v1.EvaluateRequest.FromString(form), members, permission)
    return groups


def taken_apart(data: bytes | memoryview) -> Apart:
    """Takes out of a request what is its own alone.

    Raises:
        FieldError: See `parse`.
        DecodeError: It is no request.
    """
    if len(data) > MAX_STACKED_BYTES:
        return Apart(None, {})
    request = v1.EvaluateRequest.FromString(bytes(data))
    elements: dict[str, bytes] = {}
    for name in OWN:
        if request.HasField(name):
            tensor = getattr(request, name)
            elements[name] = tensor.data
            tensor.ClearField("data")
    run_key = _own_names(request)
    if len(data) - sum(map(len, elements.values())) > FEW_FIELDS_BYTES:
        check_field_count(v1.EvaluateRequest, bytes(data))
    return Apart(request.SerializeToString(), elements, run_key)


def _own_names(request: v1.EvaluateRequest) -> v1.RunKey | None:
    """Takes the names of key and slice out of a request."""
    if not request.HasField("run_key"):
        return None
    run_key = v1.RunKey()
    run_key.CopyFrom(request.run_key)
    request.run_key.ClearField("key")
    request.run_key.ClearField("slice")
    return run_key


def _groups_of(form: v1.EvaluateRequest, requests: list[Request], permission: Permission) -> list[Group]:
    try:
        if len(requests) > 1:  # a single request is checked when it is evaluated
            permission.check(loss_of(form.spec), form.series)
            permission.check_run(form.run_key.run)
            check_request(form)
    except (FieldError, NotPermittedError, NotServedError) as error:
        return [Group(requests, problem=error)]
    if _can_be_stacked(form):
        return [Group(requests, can_be_stacked=True, elements=len(requests) * element_count_of(form))]
    return [Group([request]) for request in requests]


def _can_be_stacked(form: v1.EvaluateRequest) -> bool:
    """Whether requests of this form differ only in elements of single rows that are in their messages.

    Those with heads are not stacked: the engine puts their rows together, whatever else they have.
    """
    if is_weighted_by_targets(form.spec) or form.outputs.gradient.HasField("destination") or heads_of(form.spec):
        return False
    return not any(getattr(form, name).HasField("shared_memory") for name in OWN)


def plan_alike(
    first: v1.EvaluateRequest, elements: Sequence[Mapping[str, bytes]], reserve: Reserve = unreserved
) -> ce_engine.Slab:
    """Plans requests that differ from the first in the elements of some tensors alone, as one slab.

    Args:
        first: One of them, which passes `check_request`.
        elements: These elements for each request, by the names of the tensors' fields.
        reserve: Holds what they take, before anything is allocated.

    Raises:
        Exception: One of them is wrong. Planning each alone tells which one, and why.
    """
    if reserve is not unreserved:
        reserve(len(elements) * needed_bytes(first))
    options = arguments(first, to_torch)
    for name in elements[0]:
        options[name] = _stacked([own[name] for own in elements], options[name], name)
    return summing(ce_engine.slabs.stacked(PLANS[loss_of(first.spec)], **options), exactness(first))


def fill_responses(
    responses: Sequence[v1.EvaluateResponse], result: ce_engine.StackedResult, *, with_exact: bool
) -> None:
    """Fills the answers of all requests in place."""
    for name in RESULT_NUMBERS:
        values = getattr(result, name)
        if values is not None:
            for response, value in zip(responses, values, strict=True):
                setattr(response, name, value)
    for form in RESULT_TENSORS:
        tensor = getattr(result, form.name)
        if tensor is not None:
            fill_each([getattr(response, form.field) for response in responses], tensor)
    if with_exact:
        for number, response in enumerate(responses):
            if (exact := Exact.of(result[number])) is not None:
                exact.fill(response)


def _stacked(parts: Sequence[bytes], one: torch.Tensor, field: str) -> torch.Tensor:  # (parts, ...)
    if any(len(part) != one.nbytes for part in parts):
        raise FieldError(field, f"expected {one.nbytes} bytes of each request")
    return from_bytes(memoryview(b"".join(parts)), one.dtype, (len(parts), *one.shape), field)
