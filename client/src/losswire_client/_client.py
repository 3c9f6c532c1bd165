from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, Unpack, cast

import grpc
import numpy.typing as npt

from losswire import v1
from losswire.v1 import loss_service_pb2, loss_service_pb2_grpc
from losswire_client import _losses
from losswire_client._capabilities import Capabilities, parse_capabilities
from losswire_client._deadline import DEFAULT_TIMEOUT, Deadline, checked_timeout
from losswire_client._errors import InternalError, LosswireError, NotServedError, from_call, invalid_argument
from losswire_client._evaluation import Common, Evaluation, Options, check_choice
from losswire_client._result import Result
from losswire_client._shared_memory import SharedMemory
from losswire_client._stream import Stream
from losswire_client._unary import MAX_MESSAGE_BYTES, read_whole, whole_request

TRANSPORTS = ("auto", "unary", "stream", "shared_memory")
SMALL_BYTES = 2**18  # so little goes in one message, without asking the server first: shared memory gains nothing yet
EVALUATE_STREAM = f"/{loss_service_pb2.DESCRIPTOR.services_by_name['LossService'].full_name}/EvaluateStream"


class Client:
    """A connection to a server, which any number of threads may use at once.

    The losses have the names, the arguments and the results of ``torch.nn.functional``; what follows those arguments is
    keyword-only.

    Args:
        target: Where the server is, as in ``localhost:50051``. The connection is made with the first call.
        timeout: Seconds that a call may take, unless it brings its own.
        transport: How batches travel: ``unary``, in one message; ``stream``, in slabs of any number; or
            ``shared_memory``, copied to where a server on this machine reads them. ``auto`` takes one message for what
            fits a slab, else shared memory where it can, else a stream.
    """

    def __init__(self, target: str, *, timeout: float = DEFAULT_TIMEOUT, transport: str = "auto") -> None:
        if not isinstance(target, str) or not target:
            raise invalid_argument("target", f"expected an address, as in 'localhost:50051', got {target!r}")
        self._target = target
        self._timeout = checked_timeout(timeout)
        check_choice("transport", transport, TRANSPORTS)
        self._transport = transport
        self._capabilities: Capabilities | None = None
        self._closed = False
        # Answers that fit a message are taken, whatever their outputs.
        self._channel = grpc.insecure_channel(target, [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
        self._stub = loss_service_pb2_grpc.LossServiceStub(self._channel)
        self._shared = SharedMemory(self._stub, target)
        stream: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(EVALUATE_STREAM)
        self._evaluate_stream = stream  # of bytes: see losswire.frames

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
        timeout = common.pop("timeout", None)
        evaluation = _losses.cross_entropy(
            input, target, weight, ignore_index, reduction, label_smoothing, **cast(Options, common)
        )
        return self._evaluate(evaluation, timeout)

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
        timeout = common.pop("timeout", None)
        evaluation = _losses.nll_loss(input, target, weight, ignore_index, reduction, **cast(Options, common))
        return self._evaluate(evaluation, timeout)

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
        timeout = common.pop("timeout", None)
        evaluation = _losses.binary_cross_entropy(input, target, weight, reduction, **cast(Options, common))
        return self._evaluate(evaluation, timeout)

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
        timeout = common.pop("timeout", None)
        evaluation = _losses.binary_cross_entropy_with_logits(
            input, target, weight, reduction, pos_weight, **cast(Options, common)
        )
        return self._evaluate(evaluation, timeout)

    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """What the server serves, and its limits.

        Raises:
            LosswireError: The call failed; the package's docstring draws the tree.
        """
        with self._calling(timeout) as deadline:
            self._capabilities = None
            return self._served(deadline)

    def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = "float32", *, timeout: float | None = None
    ) -> npt.NDArray[Any]:
        """An array in memory that a server on this machine reads where it is, so that evaluating it copies nothing.

        Of its views, those that are contiguous may be evaluated so too. The memory is the server's, which may have only
        so much of it (`Capabilities.shared_memory_bytes`), until the last of them is gone or the client is closed; they
        stay valid after that, and are evaluated like any other array.

        Args:
            shape: Lengths of its dimensions.
            dtype: Any that the server takes, as in ``float32`` or ``bfloat16``.
            timeout: Seconds that it may take; the client's if None.

        Raises:
            NotServedError: This server shares no memory.
            PermissionDeniedError: The server is not on this machine, or belongs to another user.
            OverloadedError: Its memory is used up by now.
            ResourceExhaustedError: It never has so much.
            InvalidArgumentError: There is no such shape or dtype.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        with self._calling(timeout) as deadline:
            return self._shared.empty(shape, dtype, deadline)

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

    def _evaluate(self, evaluation: Evaluation, timeout: float | None) -> Result:
        with self._calling(timeout) as deadline:
            if self._transport == "shared_memory":
                return self._shared.evaluate(evaluation, deadline)
            if self._transport == "unary" or not evaluation.input.size:
                return self._unary(evaluation, deadline)
            if self._transport == "stream":
                return self._stream(evaluation, deadline)
            return self._best(evaluation, deadline)

    def _best(self, evaluation: Evaluation, deadline: Deadline) -> Result:
        """By shared memory where it can be, in one message what fits a slab, and as a stream what does not."""
        resident = self._shared.holds(evaluation.input)
        if evaluation.nbytes <= SMALL_BYTES and not resident:
            return self._unary(evaluation, deadline)
        served = self._served(deadline)
        if resident or self._shared.suits(evaluation, served):
            result = self._shared.try_evaluate(evaluation, deadline)
            if result is not None:
                return result
        fits = evaluation.nbytes <= served.slab_bytes or "stream" not in served.transports
        return self._unary(evaluation, deadline) if fits else self._stream(evaluation, deadline)

    def _unary(self, evaluation: Evaluation, deadline: Deadline) -> Result:
        request = whole_request(evaluation)
        return read_whole(self._stub.Evaluate(request, timeout=deadline.remaining()), evaluation)

    def _stream(self, evaluation: Evaluation, deadline: Deadline) -> Result:
        served = self._served(deadline)
        if "stream" not in served.transports:
            raise NotServedError(f"the server at {self._target} takes no streams", grpc.StatusCode.UNIMPLEMENTED)
        stream = Stream(evaluation, served.slab_bytes, served.max_message_bytes)
        call = self._evaluate_stream(stream.messages(), timeout=deadline.remaining())
        try:
            results = [result for message in call if (result := stream.take(message))]
        except BaseException:
            call.cancel()
            raise
        if not results:
            raise InternalError("the server ended the stream without a summary")
        return results[0]

    def _served(self, deadline: Deadline) -> Capabilities:
        """What the server serves; it is asked once, by the first call that wants to know."""
        if self._capabilities is None:
            request = v1.GetCapabilitiesRequest()
            told = self._stub.GetCapabilities(request, timeout=deadline.remaining())
            self._capabilities = parse_capabilities(told)
        return self._capabilities

    @contextmanager
    def _calling(self, timeout: float | None) -> Iterator[Deadline]:
        """Around whatever is one call to the user: one deadline, and errors of the tree."""
        if self._closed:
            raise LosswireError("this client is closed")
        deadline = Deadline(self._timeout if timeout is None else checked_timeout(timeout))
        try:
            yield deadline
        except grpc.RpcError as error:
            raise from_call(error, self._target, deadline.seconds) from error
        except ValueError as error:  # so says grpcio, if another thread has closed the channel by now
            if isinstance(error, LosswireError) or not self._closed:
                raise
            raise LosswireError("this client is closed") from error
