"""The client whose calls return."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy.typing as npt

from losswire_client._base import Base
from losswire_client._calls import checks_call
from losswire_client._capabilities import Capabilities
from losswire_client._flow import each, run
from losswire_client._heads.surface import HeadMethods
from losswire_client._many.batches import ITERABLE, Batch, check_map, evaluator
from losswire_client._many.chunks import Preparation, chunk_size, evaluate_in_chunks
from losswire_client._many.map import checked_window, evaluate_in_threads
from losswire_client._many.progress import shown, wants_bar
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.options import Common
from losswire_client._result import Result
from losswire_client._runs.creation import check_local, creation
from losswire_client._runs.results import RunProgress
from losswire_client._runs.run import Run
from losswire_client._wires.connection import Connection
from losswire_client._wires.grpc_wire import GrpcWire

S = TypeVar("S")
T = TypeVar("T")


class Client(HeadMethods, Base[Result]):
    """A connection to a server, or to several equivalent servers.

    Any number of threads may use it at once. The losses have the names, the arguments and the results of
    ``torch.nn.functional``; all further arguments are keyword-only. In the child of a fork the client connects anew. A
    pickled client keeps its arguments, and connects anew where it is loaded.
    """

    @checks_call
    def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """What the server serves, and its limits.

        Raises:
            LosswireError: The call failed; the package's docstring draws the tree.
        """
        return run(self._run(self._session.capabilities, timeout))

    @checks_call
    def ping(self, *, timeout: float | None = None) -> float:
        """Seconds that the server takes to say that it is well. Like all calls, it waits for a server that is starting.

        Raises:
            UnavailableError: No server can be reached, or it is about to leave.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        return run(self._run(self._session.ping, timeout))

    @checks_call
    def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = "float32", *, timeout: float | None = None
    ) -> npt.NDArray[Any]:
        """An array in memory that it shares with a server on this machine, so that evaluating it copies nothing.

        Contiguous views of the array are evaluated without a copy too. The server shares only a limited amount of
        memory (`Capabilities.shared_memory_bytes`). It gets this part back when the array and all its views are gone,
        or when the client is closed. Arrays stay valid when the client is closed, and are then evaluated like any other
        array.

        Args:
            shape: Lengths of its dimensions.
            dtype: Any dtype that the server takes, as in ``float32`` or ``bfloat16``.
            timeout: Seconds that this call may take; the client's timeout if None.

        Raises:
            NotServedError: This server shares no memory.
            PermissionDeniedError: The server is not on this machine, or belongs to another user.
            OverloadedError: The server's shared memory is used up for now.
            ResourceExhaustedError: The server never shares so much memory.
            InvalidArgumentError: There is no such shape or dtype.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        return run(self._attempt(partial(self._session.empty, shape, dtype), self._deadline(timeout)))

    @checks_call
    def map(
        self,
        batches: Iterable[Batch],
        *,
        loss: str = "cross_entropy",
        window: int = 32,
        progress: bool = False,
        **options: Any,
    ) -> Iterator[Result]:
        """Evaluates many batches with a window of them in flight, and gives their results in order.

        Batches are taken from the iterable as results are taken from the `map`, so their number is not limited. Small
        batches are answered several times as fast by a client with ``coalesce=True``.

        Args:
            batches: For each batch the first arguments of the loss, as in ``(input, target)``, or a mapping of argument
                names to arguments.
            loss: Name of the loss.
            window: How many batches are in flight: each in its own thread, or with ``coalesce=True`` in two messages.
            progress: Whether to show a bar, with the exact mean so far. Needs the extra ``progress``.
            **options: Arguments that all batches have.

        Raises:
            InvalidArgumentError: An argument is wrong.
            LosswireError: A batch failed. The message and the attribute ``batch`` say which one. The error is raised
                where the batch's result would come. An error of the iterable is raised there too, with a note that
                names the batch.
        """
        check_map(self, loss, options, batches, ITERABLE)
        results = self._map(evaluator(self, loss, options), batches, checked_window(window), loss, options)
        return shown(results, batches) if wants_bar(progress) else results

    @checks_call
    def run(
        self,
        name: str,
        *,
        loss: str = "cross_entropy",
        by_class: bool = False,
        labels: Mapping[str, str] | None = None,
        expected_keys: int | None = None,
        accuracy: bool = True,
        series: str = "",
        timeout: float | None = None,
        **options: Any,
    ) -> Run:
        """Creates a run on the server, or takes the one of this name that has the same loss, options and labels.

        Args:
            name: Its name: up to 200 letters, digits and any of ``_.:/-``.
            loss: Name of its loss.
            by_class: Whether it adds up each class by itself too.
            labels: What to note about it, such as a model and a data set: up to 64 texts by their names.
            expected_keys: How many keys it will have. What was said last holds, until the run is finished.
            accuracy: Whether evaluations ask for predictions too, so that the rows that are right are counted.
            series: Series of its evaluations: see `Common`.
            timeout: Seconds that this call may take; the client's if None.
            **options: Those of the loss, such as ``weight``, ``ignore_index`` and ``head``. All evaluations of the run
                have them. A head is noted by its digest.

        Raises:
            ConflictError: The run of this name has another loss, other options or labels: see `ConflictError.argument`.
            ResourceExhaustedError: The server keeps as many runs already as it may.
            NotServedError: The server keeps no runs.
            InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        check_local(accuracy, series)
        request, heads = creation(self, name, loss, by_class, labels, expected_keys, options)
        created = run(self._runs.create(request, timeout))
        return Run(self, created, accuracy=accuracy, series=series, heads=heads)

    @checks_call
    def get_run(self, name: str, *, accuracy: bool = True, series: str = "", timeout: float | None = None) -> Run:
        """The run of this name, with the loss and the options that its creator gave it. Arguments are those of `run`.

        Raises:
            NotFoundError: There is none.
            LosswireError: Anything else that can go wrong; the package's docstring draws the tree.
        """
        check_local(accuracy, series)
        return Run(self, run(self._runs.get(name, timeout, totals_only=True)), accuracy=accuracy, series=series)

    @checks_call
    def runs(self, prefix: str = "", *, timeout: float | None = None) -> Iterator[RunProgress]:
        """All runs whose names begin so, the newest first. They come page by page.

        Args:
            prefix: How the names begin.
            timeout: Seconds that the call of each page may take; the client's if None.

        Raises:
            LosswireError: A call failed; the package's docstring draws the tree.
        """
        return each(self._runs.list_runs(prefix, timeout))

    def close(self) -> None:
        """Ends the connection. Calls under way raise errors.

        This takes milliseconds, and never more than 5 seconds, whatever the server and the other threads do.
        """
        run(self._close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _map(
        self,
        evaluate: Callable[[Batch], Result],
        batches: Iterable[Batch],
        window: int,
        loss: str,
        options: dict[str, Any],
    ) -> Iterator[Result]:
        timeout = options.get("timeout")
        most = run(self._max_requests(timeout))
        if not most:
            yield from evaluate_in_threads(evaluate, batches, window)
            return
        prepare = evaluator(Preparation(self), loss, options)
        yield from evaluate_in_chunks(
            lambda chunk: run(self._evaluate_chunk(prepare, timeout, chunk)), batches, window, chunk_size(window, most)
        )

    def _evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> Result:
        return run(self._put_together_and_evaluate(put_together, common))

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop to hold up

    async def _each(self, function: Callable[[S], Awaitable[T]], arguments: Iterable[S]) -> list[T]:
        return [await function(argument) for argument in arguments]

    def _new_connection(self) -> Connection:
        return Connection(self._endpoint, GrpcWire)
