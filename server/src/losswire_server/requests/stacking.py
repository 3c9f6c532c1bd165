"""Requests that are alike to as many answers: all but their elements is read, checked and planned once."""

from collections.abc import Mapping, Sequence

import torch

import ce_engine
from losswire import v1
from losswire.tensors import FieldError
from losswire_server.requests.decoding import from_bytes, to_torch
from losswire_server.requests.encoding import fill_each
from losswire_server.requests.one import NUMBERS, TENSORS
from losswire_server.requests.planning import PLANS, arguments, loss_of


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
    for name in NUMBERS:
        values = getattr(result, name)
        if values is not None:
            for response, value in zip(responses, values, strict=True):
                setattr(response, name, value)
    for field, name in {**TENSORS, "gradient": "grad"}.items():
        tensor = getattr(result, name)
        if tensor is not None:
            fill_each([getattr(response, field) for response in responses], tensor)


def _stacked(parts: Sequence[bytes], one: torch.Tensor, field: str) -> torch.Tensor:  # (parts, ...)
    if any(len(part) != one.nbytes for part in parts):
        raise FieldError(field, f"expected {one.nbytes} bytes of each request")
    return from_bytes(memoryview(b"".join(parts)), one.dtype, (len(parts), *one.shape), field)
