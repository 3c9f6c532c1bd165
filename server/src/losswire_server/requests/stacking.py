"""Requests that are alike to as many answers: all but their elements is read, checked and planned once."""

from collections.abc import Mapping, Sequence

import torch

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.losses import RESULT_NUMBERS, RESULT_TENSORS, loss_of
from losswire_server.requests.decoding import from_bytes, to_torch
from losswire_server.requests.encoding import fill_each
from losswire_server.requests.planning import PLANS, arguments


def evaluate_alike(first: v1.EvaluateRequest, elements: Sequence[Mapping[str, bytes]]) -> ce_engine.StackedResult:
    """Evaluates requests that have all in common with the first but the elements of some tensors.

    Args:
        first: One of them, which passes `check_request`.
        elements: Of each of them, by the names of the tensors' fields.

    Raises:
        Exception: Something is wrong with one of them. `evaluate` tells what, and with which.
    """
    options = arguments(first, to_torch)
    for name in elements[0]:
        options[name] = _stacked([own[name] for own in elements], options[name], name)
    return ce_engine.evaluate_stacked(PLANS[loss_of(first.spec)], **options)


def fill_responses(responses: Sequence[v1.EvaluateResponse], result: ce_engine.StackedResult) -> None:
    """Fills the answers of all requests in their places."""
    for name in RESULT_NUMBERS:
        values = getattr(result, name)
        if values is not None:
            for response, value in zip(responses, values, strict=True):
                setattr(response, name, value)
    for form in RESULT_TENSORS:
        tensor = getattr(result, form.name)
        if tensor is not None:
            fill_each([getattr(response, form.field) for response in responses], tensor)


def _stacked(parts: Sequence[bytes], one: torch.Tensor, field: str) -> torch.Tensor:  # (parts, ...)
    if any(len(part) != one.nbytes for part in parts):
        raise FieldError(field, f"expected {one.nbytes} bytes of each request")
    return from_bytes(memoryview(b"".join(parts)), one.dtype, (len(parts), *one.shape), field)
