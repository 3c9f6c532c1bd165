from numbers import Real
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import numpy.typing as npt

from losswire import v1
from losswire.tensors import encode
from losswire.v1 import loss_service_pb2_grpc
from losswire_client._arrays import floating_array, target_array
from losswire_client._capabilities import Capabilities, parse_capabilities
from losswire_client._errors import LosswireError, RegionLostError, invalid_argument, translated
from losswire_client._requests import (
    MAX_MESSAGE_BYTES,
    Common,
    Options,
    assign,
    check_choice,
    check_size,
    evaluate_request,
    set_weight,
    to_result,
)
from losswire_client._result import Result
from losswire_client._shared_memory import SharedMemory

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

DEFAULT_TIMEOUT = 60.0
MAX_TIMEOUT = 365 * 86400.0
TRANSPORTS = ("auto", "unary", "shared_memory")


class Client:
    """A connection to a server, which any number of threads may use at once.

    The losses have the names, the arguments and the results of ``torch.nn.functional``; what follows those arguments is
    keyword-only.

    Args:
        target: Where the server is, as in ``localhost:50051``. The connection is made with the first call.
        timeout: Seconds that a call may take, unless it brings its own.
        transport: How batches reach the server: ``unary``, in a message; ``shared_memory``, copied to where a server on
            this machine can read them; ``auto``, whichever is right.
    """

    def __init__(self, target: str, *, timeout: float = DEFAULT_TIMEOUT, transport: str = "auto") -> None:
        if not isinstance(target, str) or not target:
            raise invalid_argument("target", f"expected an address, as in 'localhost:50051', got {target!r}")
        self._target = target
        self._timeout = _checked_timeout(timeout)
        check_choice("transport", transport, TRANSPORTS)
        self._transport = transport
        self._closed = False
        # Answers that fit a message are taken, whatever their outputs.
        self._channel = grpc.insecure_channel(target, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
        self._stub = loss_service_pb2_grpc.LossServiceStub(self._channel)
        self._shared = SharedMemory(self._stub, target)

    def cross_entropy(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        **common: Unpack[Common],
    ) -> Result:
        """Softmax cross-entropy of logits, as ``torch.nn.functional.cross_entropy``.

        Args:
            input: Logits of shape (C), (N, C) or (N, C, d1, ..., dk), in float64, float32, float16 or bfloat16.
            target: Class indices of the input's shape without C, in any integer dtype, each in [0, C) or equal to
                ``ignore_index``; or, of the input's shape and in a floating dtype, probabilities of the classes.
            weight: A factor for each class, of shape (C), in a floating dtype. Or, for class indices, how to compute it
                from them: ``balanced``, N / (C n_c) for a class that occurs n_c times in N rows, or ``complement``,
                1 - n_c / N.
            ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
            reduction: ``none``, ``mean`` or ``sum``.
            label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        spec = v1.LossSpec()
        assign(spec.cross_entropy, "ignore_index", ignore_index, "an integer of 64 bits")
        assign(spec.cross_entropy, "label_smoothing", label_smoothing, "a number in [0, 1]")
        set_weight(spec.cross_entropy, weight)
        return self._evaluate(spec, input, target_array("target", target), reduction, **common)

    def nll_loss(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        **common: Unpack[Common],
    ) -> Result:
        """Negative log-likelihood of log-probabilities, as ``torch.nn.functional.nll_loss``.

        Args:
            input: Log-probabilities, which are not checked to be such, of shape (C), (N, C) or (N, C, d1, ..., dk), in
                float64, float32, float16 or bfloat16.
            target: Class indices, as in `cross_entropy`.
            weight: As in `cross_entropy`.
            ignore_index: As in `cross_entropy`.
            reduction: ``none``, ``mean`` or ``sum``.
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        spec = v1.LossSpec()
        assign(spec.nll_loss, "ignore_index", ignore_index, "an integer of 64 bits")
        set_weight(spec.nll_loss, weight)
        return self._evaluate(spec, input, target_array("target", target), reduction, **common)

    def binary_cross_entropy(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        reduction: str = "mean",
        **common: Unpack[Common],
    ) -> Result:
        """Binary cross-entropy of probabilities, as ``torch.nn.functional.binary_cross_entropy``.

        Args:
            input: Probabilities of any shape, each in [0, 1], in float64, float32, float16 or bfloat16.
            target: Of the input's shape, in a floating dtype.
            weight: A factor for each element, which broadcasts to the input's shape, in a floating dtype. Or how to
                compute it from the targets, which must all be 0 or 1 then: ``balanced`` or ``complement``.
            reduction: ``none``, ``mean`` or ``sum``.
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        spec = v1.LossSpec(binary_cross_entropy=v1.BinaryCrossEntropy())
        set_weight(spec.binary_cross_entropy, weight)
        return self._evaluate(spec, input, floating_array("target", target), reduction, **common)

    def binary_cross_entropy_with_logits(
        self,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        weight: npt.ArrayLike | str | None = None,
        reduction: str = "mean",
        pos_weight: npt.ArrayLike | None = None,
        **common: Unpack[Common],
    ) -> Result:
        """Binary cross-entropy of logits, as ``torch.nn.functional.binary_cross_entropy_with_logits``.

        Args:
            input: Logits of any shape, in float64, float32, float16 or bfloat16.
            target: Of the input's shape, in a floating dtype.
            weight: As in `binary_cross_entropy`.
            reduction: ``none``, ``mean`` or ``sum``.
            pos_weight: A factor for the positive part of each element's loss, which broadcasts to the input's shape.
            **common: See `Common`.

        Raises:
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        spec = v1.LossSpec(binary_cross_entropy_with_logits=v1.BinaryCrossEntropyWithLogits())
        options = spec.binary_cross_entropy_with_logits
        set_weight(options, weight)
        if pos_weight is not None:
            encode(floating_array("pos_weight", pos_weight), options.pos_weight, "pos_weight")
        return self._evaluate(spec, input, floating_array("target", target), reduction, **common)

    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """What the server serves, and its limits.

        Raises:
            LosswireError: The call failed; the package's docstring draws the tree.
        """
        return parse_capabilities(self._call(self._stub.GetCapabilities, v1.GetCapabilitiesRequest(), timeout))

    def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = "float32", *, timeout: float | None = None
    ) -> npt.NDArray[Any]:
        """An array in memory that a server on this machine reads where it is, so that evaluating it copies nothing.

        Of its views, those that are contiguous may be evaluated so too. The memory is the server's, which may have only
        so much of it (`Capabilities.shared_memory_bytes`), until the last of them is gone or the client is closed; they
        stay valid after that, and are evaluated like any other array.

        Args:
            shape: Lengths of its dimensions.
            dtype: Any that the server takes; ``bfloat16`` if ``ml_dtypes`` is imported.
            timeout: Seconds that it may take; the client's if None.

        Raises:
            NotServedError: This server shares no memory.
            PermissionDeniedError: The server is not on this machine, or belongs to another user.
            OverloadedError: Its memory is used up by now.
            ResourceExhaustedError: It never has so much.
            InvalidArgumentError: There is no such shape or dtype.
        """
        if self._closed:
            raise LosswireError("this client is closed")
        return self._shared.empty(shape, dtype, self._seconds(timeout))

    def close(self) -> None:
        """Ends the connection, and with it the calls under way."""
        self._closed = True
        self._shared.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _evaluate(
        self,
        spec: v1.LossSpec,
        input: npt.ArrayLike,
        target: npt.NDArray[Any],
        reduction: str,
        *,
        timeout: float | None = None,
        **options: Unpack[Options],
    ) -> Result:
        inputs = floating_array("input", input)
        must = self._transport == "shared_memory"
        if must or (self._transport == "auto" and self._shared.holds(inputs)):
            try:
                return self._evaluate_shared(spec, inputs, target, reduction, timeout, options, must=must)
            except RegionLostError:  # the server has restarted since; now all is copied, to regions of the new one
                self._shared.pool.lose_all()
                if must:
                    return self._evaluate_shared(spec, inputs, target, reduction, timeout, options, must=True)
        check_size(inputs, target)
        request = evaluate_request(spec, inputs, target, reduction, **options)
        return to_result(self._call(self._stub.Evaluate, request, timeout))

    def _evaluate_shared(
        self,
        spec: v1.LossSpec,
        inputs: npt.NDArray[Any],
        target: npt.NDArray[Any],
        reduction: str,
        timeout: float | None,
        options: Options,
        *,
        must: bool,
    ) -> Result:
        with self._shared.placement(self._seconds(timeout), must=must) as placement:
            request = evaluate_request(spec, inputs, target, reduction, put=placement.put, **options)
            placement.ask_for_gradient(request, inputs)
            response = self._call(self._stub.Evaluate, request, timeout)
            return to_result(response, placement.gradient(response))

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else _checked_timeout(timeout)

    def _call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[RequestT, ResponseT]",
        request: RequestT,
        timeout: float | None,
    ) -> ResponseT:
        if self._closed:
            raise LosswireError("this client is closed")
        seconds = self._seconds(timeout)
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
