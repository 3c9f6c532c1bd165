"""The SDK's verdict on arguments, and the server's on the same arguments when the SDK lets them pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

from losswire.tensors import FieldError
from losswire_client import Client, InvalidArgumentError
from losswire_client._errors import argument_of
from losswire_client._request import losses as _losses
from losswire_client._transports.unary import whole_request
from losswire_server.requests.planning import plan

DEFAULTS: dict[str, dict[str, Any]] = {
    "cross_entropy": {"weight": None, "ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0},
    "nll_loss": {"weight": None, "ignore_index": -100, "reduction": "mean"},
    "binary_cross_entropy": {"weight": None, "reduction": "mean"},
    "binary_cross_entropy_with_logits": {"weight": None, "reduction": "mean", "pos_weight": None},
}


class Refusal(NamedTuple):
    """What both sides say; hints are the SDK's own."""

    argument: str
    text: str


@contextmanager
def unchecked() -> Iterator[None]:
    """Lets the SDK send whatever a request can say."""
    with mock.patch.object(_losses, "check"):
        yield


def of_the_sdk(loss: str, arguments: dict[str, Any]) -> Refusal | None:
    try:
        getattr(_losses, loss)(**DEFAULTS[loss] | arguments)
    except InvalidArgumentError as error:
        return Refusal(error.argument, error.args[0])
    return None


def of_the_plan(loss: str, arguments: dict[str, Any]) -> Refusal | None:
    """Of that part of the server which says what is wrong, asked without a connection."""
    with unchecked():
        request = whole_request(getattr(_losses, loss)(**DEFAULTS[loss] | arguments))
    try:
        plan(request)
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
