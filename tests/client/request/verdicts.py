"""Verdicts on arguments: the SDK's, the server's without the SDK's checks, and the engine's without either."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple
from unittest import mock

import torch

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.fields import argument_of
from losswire.losses import LOSSES
from losswire_client import Client, Head, InvalidArgumentError
from losswire_client._many.chunks import Preparation, Prepared
from losswire_client._request import evaluation
from losswire_client._request.evaluation import Evaluation
from losswire_client._transports.unary import whole_request
from losswire_server.requests import planning
from losswire_server.requests.check import check_request
from losswire_server.requests.decoding import to_torch
from losswire_server.requests.heads.named import use_heads
from losswire_server.requests.planning import PLANS, by_field, plan

NOBODY: Any = None  # a preparation makes no calls

OF_REQUESTS = ("at most once", "got an empty text", "expected labels with it, got none")


class Refusal(NamedTuple):
    """The refusal that both sides give. Only the SDK adds hints."""

    argument: str
    text: str


def alike(loss: str, of_request: Refusal | None, of_engine: Refusal | None) -> bool:
    """Whether two verdicts are the same. The words differ for losses that may have a head, which requests lack."""
    if LOSSES[loss].classes_last and of_request and of_engine:
        return of_request.argument == of_engine.argument
    return of_request == of_engine


def _check_nothing(*_: object) -> None: ...


@contextmanager
def unchecked() -> Iterator[None]:
    """Lets the SDK send any request, without checks."""
    with mock.patch.object(evaluation, "check", _check_nothing):  # a MagicMock takes longer to make than all the rest
        yield


class Held:
    """A server that holds the heads of an evaluation."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._heads = {digest: _of_the_engine(head) for digest, head in evaluation.heads.items()}

    def use(self, name: str, field: str) -> ce_engine.Head:  # noqa: ARG002
        return self._heads[name]

    def find(self, name: str, field: str) -> None:
        """None has an alias."""


def _of_the_engine(head: Head) -> ce_engine.Head:
    tensors = [torch.from_numpy(head.arrays[name].copy()) for name in ("weight", "bias") if name in head.arrays]
    return ce_engine.Head(*tensors)


def _evaluation(loss: str, arguments: dict[str, Any], *, checked: bool = True) -> Evaluation:
    with nullcontext() if checked else unchecked():
        prepared: Prepared = getattr(Preparation(NOBODY), loss)(**arguments)
    return prepared.evaluation


def of_the_sdk(loss: str, arguments: dict[str, Any]) -> Refusal | None:
    try:
        _evaluation(loss, arguments)
    except InvalidArgumentError as error:
        return Refusal(error.argument, error.args[0])
    return None


def of_the_plan(loss: str, arguments: dict[str, Any]) -> Refusal | None:
    """The verdict of the server's checks, without a connection."""
    held = Held(_evaluation(loss, arguments, checked=False))
    return _refusal(lambda request: plan(request, held=held), _request(loss, arguments))


def of_the_engine(loss: str, arguments: dict[str, Any]) -> Refusal | None:
    """The verdict of the engine, if the server checked nothing."""

    held = Held(_evaluation(loss, arguments, checked=False))

    def hand_over(request: v1.EvaluateRequest) -> None:
        heads = use_heads(request.spec, held)
        with by_field(request.spec):
            PLANS[loss](**planning.arguments(request, to_torch, heads) | {"checked": False})

    request = _request(loss, arguments)
    told = _refusal(check_request, request)
    # The engine knows nothing about names, outputs that are asked for twice, or what stands at its default.
    is_of_the_request = told is not None and (told.argument == "series" or told.text.endswith(OF_REQUESTS))
    return told if is_of_the_request else _refusal(hand_over, request)


def _request(loss: str, arguments: dict[str, Any]) -> v1.EvaluateRequest:
    with unchecked():
        return whole_request(_evaluation(loss, arguments))


def _refusal(judge: Callable[[v1.EvaluateRequest], object], request: v1.EvaluateRequest) -> Refusal | None:
    try:
        judge(request)
    except FieldError as error:
        argument = argument_of(error.field)
        return Refusal(argument, f"{argument}: {error.problem}")
    return None


def of_the_server(client: Client, loss: str, arguments: dict[str, Any]) -> Refusal | None:
    try:
        with unchecked():
            getattr(client, loss)(**arguments)
    except InvalidArgumentError as error:
        return Refusal(error.argument, error.args[0])
    return None
