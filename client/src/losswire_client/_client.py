from numbers import Real
from types import TracebackType
from typing import Self, TypeVar

import grpc
import numpy.typing as npt

from losswire import v1
from losswire.tensors import encode
from losswire.v1 import loss_service_pb2_grpc
from losswire_client._arrays import floating_array
from losswire_client._capabilities import Capabilities, parse_capabilities
from losswire_client._errors import LosswireError, invalid_argument, translated
from losswire_client._requests import MAX_MESSAGE_BYTES, assign, evaluate_request, to_result
from losswire_client._result import Result

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 365 * 86400.0


class Client:
    """A connection to a server, which any number of threads may use at once.

    The losses have the names, the arguments and the results of ``torch.nn.functional``; what follows those arguments is
    keyword-only.

    Args:
        target: Where the server is, as in ``localhost:50051``. The connection is made with the first call.
        timeout: Seconds that a call may take, unless it brings its own.
    """

    def __init__(self, target: str, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        if not isinstance(target, str) or not target:
            raise invalid_argument("target", f"expected an address, as in 'localhost:50051', got {target!r}")
        self._target = target
        self._timeout = _checked_timeout(timeout)
        self._closed = False
        # An answer is bounded by its request.
        self._channel = grpc.insecure_channel(target, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
        self._stub = loss_service_pb2_grpc.LossServiceStub(self._channel)

    def cross_entropy(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        grad: bool = False,
        grad_output: npt.ArrayLike | None = None,
        empty: str = "nan",
        series: str = "",
        timeout: float | None = None,
    ) -> Result:
        """Softmax cross-entropy of logits against class indices, as ``torch.nn.functional.cross_entropy``.

        Args:
            input: Logits of shape (C), (N, C) or (N, C, d1, ..., dk), in float64, float32, float16 or bfloat16.
            target: Class indices of the input's shape without C, in any integer dtype, each in [0, C) or equal to
                ``ignore_index``.
            weight: A factor for each class, of shape (C), in a floating dtype.
            ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
            reduction: ``none``, ``mean`` or ``sum``.
            label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
            grad: Whether to return the gradient with respect to the input.
            grad_output: The incoming gradient, of the loss's shape; ones if None.
            empty: What ``mean`` is when no row counts: ``nan``, as in PyTorch, or ``zero``.
            series: Name under which the server adds the loss up in its metrics: up to 64 letters, digits and any of
                ``_.:/-``.
            timeout: Seconds that this call may take; the client's if None.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        loss = v1.LossSpec()
        assign(loss.cross_entropy, "ignore_index", ignore_index, "an integer of 64 bits")
        assign(loss.cross_entropy, "label_smoothing", label_smoothing, "a number in [0, 1]")
        if weight is not None:
            encode(floating_array("weight", weight), loss.cross_entropy.weight, "weight")
        request = evaluate_request(
            loss,
            input,
            target,
            reduction=reduction,
            empty=empty,
            grad=grad,
            grad_output=grad_output,
            series=series,
        )
        return to_result(self._call(self._stub.Evaluate, request, timeout))

    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """What the server serves, and its limits.

        Raises:
            LosswireError: The call failed; the package's docstring draws the tree.
        """
        return parse_capabilities(self._call(self._stub.GetCapabilities, v1.GetCapabilitiesRequest(), timeout))

    def close(self) -> None:
        """Ends the connection, and with it the calls under way."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        timeout: float | None,
    ) -> ResponseT:
        if self._closed:
            raise LosswireError("this client is closed")
        seconds = self._timeout if timeout is None else _checked_timeout(timeout)
        try:
            with translated(self._target, seconds):
                return method(request, timeout=seconds)
        except ValueError as error:  # so says grpcio, if another thread has closed the channel by now
            if isinstance(error, LosswireError) or not self._closed:
                raise
            raise LosswireError("this client is closed") from error


def _checked_timeout(timeout: float) -> float:
    if not isinstance(timeout, Real) or not 0 < timeout <= MAX_TIMEOUT:
        raise invalid_argument("timeout", f"expected a number of seconds in (0, {MAX_TIMEOUT:.0f}], got {timeout!r}")
    return timeout
