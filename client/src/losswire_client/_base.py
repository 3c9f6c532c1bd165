"""What both kinds of client are made of."""

import os
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from losswire_client import _environment as environment
from losswire_client._calls import checks_call
from losswire_client._deadline import Deadline, checked_timeout
from losswire_client._errors import invalid_argument, plain, shown
from losswire_client._heads.calls import HeadCalls, Heads
from losswire_client._many.batches import Batch
from losswire_client._many.chunks import Chunk, Prepared, Settled, attempted_async
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.fields import check_choice
from losswire_client._request.options import Common, Options
from losswire_client._result import Result
from losswire_client._retry import PASSING, Retries, Retry
from losswire_client._runs.calls import RunCalls
from losswire_client._surface import AnswerT, Losses
from losswire_client._tracing.active import operation
from losswire_client._transports.session import TRANSPORTS, Session
from losswire_client._transports.wire import Flow
from losswire_client._wires.connection import Connection
from losswire_client._wires.endpoint import Endpoint
from losswire_client._wires.fork import call_after_fork
from losswire_client._wires.tls import TLS

S = TypeVar("S")
T = TypeVar("T")

NO_HEADS: Heads = {}


class Base(Losses[AnswerT]):
    """A client, but for how its coroutines are run: by one that waits to their end, by one that awaits in its loop."""

    @checks_call
    def __init__(
        self,
        target: str | Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        transport: str | None = None,
        token: str | os.PathLike[str] | None = None,
        tls: bool | TLS | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 - it is frozen
        coalesce: bool = False,
    ) -> None:
        """What is None is taken from the environment: ``LOSSWIRE_TARGET``, ``LOSSWIRE_TIMEOUT`` and so on.

        Args:
            target: Where the server is, as in ``localhost:50051``, the default; or another address of gRPC's, as in
                ``dns:///losses:50051`` or a proxy's ``unix:/run/losswire.sock``; or several hosts and ports, also by
                commas. A host without a port has the port 50051, with TLS too. Calls are spread over all servers that
                are well. The connection is made with the first call.
            timeout: Seconds that a call may take, pauses and all, unless it brings its own; 60 by default.
            transport: How batches travel: ``unary``, in one message; ``stream``, in slabs of any number; or
                ``shared_memory``, copied to where a server on this machine reads them, unless all of that memory is in
                use. ``auto``, the default, takes
                one message for what fits a slab, else shared memory where it can, else a stream.
            token: What the server knows the caller by, sent with every call as ``authorization: Bearer``; as a
                ``Path``, the file in which it is. A text is in the client's pickle, as all that it was told; of a file
                or a variable no secret is.
            tls: True to encrypt, and to trust the authorities that gRPC brings along; or a `TLS` that says more.
            retry: How long what may pass is tried again; None for not at all.
            coalesce: Whether small evaluations that are asked for at the same time travel together. Many threads or
                tasks get several times as many of them answered; one of them waits for the others' to be answered too.

        Raises:
            InvalidArgumentError: An argument is wrong, or a variable that stands for it.
        """
        self._told = {
            "target": target,
            "timeout": timeout,
            "transport": transport,
            "token": token,
            "tls": tls,
            "retry": retry,
            "coalesce": coalesce,
        }
        self._timeout = checked_timeout(environment.timeout_or_default(timeout))
        self._transport = environment.transport_or_default(transport)
        check_choice("transport", self._transport, TRANSPORTS)
        if not isinstance(tls, bool | TLS | None):
            raise invalid_argument("tls", f"expected True, False or a TLS, got {shown(tls)}")
        if not isinstance(retry, Retry | None):
            raise invalid_argument("retry", f"expected a Retry or None, got {shown(retry)}")
        check_choice("coalesce", coalesce, (False, True))
        tls, token = environment.tls_or_default(tls), environment.token_or_default(token)
        self._endpoint = self._new_endpoint(environment.target_or_default(target), tls, token)
        if self._transport == "shared_memory" and not self._endpoint.is_single:
            raise invalid_argument("transport", "expected another transport for several targets, got 'shared_memory'")
        self._retry = retry
        self._coalesce = coalesce
        self._session = self._new_session()
        self._connection = self._new_connection()
        limits = lambda wire, deadline: self._session.run_limits(wire, deadline)  # noqa: E731 - of the session by then
        self._runs = RunCalls(self._run, limits, self._sleep)
        self._heads = self._new_heads()
        call_after_fork(self._renew)

    @property
    def target(self) -> str:
        """Where the server is, or the servers are."""
        return self._endpoint.name

    def __repr__(self) -> str:
        told = {"timeout": plain(self._timeout), "transport": repr(self._transport), **self._endpoint.told()}
        if self._retry != Retry():
            told["retry"] = repr(self._retry)
        if self._coalesce:
            told["coalesce"] = "True"
        options = ", ".join(f"{name}={value}" for name, value in told.items())
        text = f"{self._public_name}({self.target!r}, {options})"
        return f"<closed {text}>" if self._connection.is_closed else text

    def __getstate__(self) -> dict[str, Any]:
        return self._told

    def __setstate__(self, told: dict[str, Any]) -> None:
        Base.__init__(self, **told)

    def _renew(self) -> None:
        """Starts anew in the child of a fork, and lets nothing end that is the parent's."""
        self._left, self._session = (self._session, self._heads), self._new_session()
        self._heads = self._new_heads()
        self._connection.renew()

    @abstractmethod
    def _new_connection(self) -> Connection:
        """What opens the wires of this kind of client."""

    @abstractmethod
    async def _sleep(self, seconds: float) -> None:
        """Pauses before another attempt."""

    @abstractmethod
    async def _each(self, function: Callable[[S], Awaitable[T]], arguments: Iterable[S]) -> list[T]:
        """What a function gives for each of its arguments."""

    def _new_endpoint(
        self, target: str | Sequence[str], tls: TLS | None, token: str | os.PathLike[str] | None
    ) -> Endpoint:
        return Endpoint(target, tls, token)

    def _new_session(self) -> Session:
        return Session(self._transport, shares_memory=self._endpoint.is_single, coalesces=self._coalesce)

    def _new_heads(self) -> HeadCalls:
        return HeadCalls(self._run, lambda wire, deadline: self._session.served(wire, deadline))

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else checked_timeout(timeout))

    async def _put_together_and_evaluate(self, put_together: Callable[..., Evaluation], common: Common) -> Result:
        timeout = common.pop("timeout", None)
        return await self._evaluate_prepared(Prepared(put_together(**cast(Options, common)), timeout))

    async def _evaluate_prepared(self, prepared: Prepared) -> Result:
        evaluation = prepared.evaluation
        with operation(f"evaluate {evaluation.loss}", evaluation.facts):
            return await self._run(partial(self._session.evaluate, evaluation), prepared.timeout, evaluation.heads)

    async def _evaluate_chunk(
        self, prepare: Callable[[Batch], Prepared], timeout: float | None, batches: Sequence[Batch]
    ) -> Settled:
        chunk = Chunk(prepare, batches, timeout)
        if chunk.requests:
            send = partial(self._session.evaluate_together, chunk.requests)
            with chunk.sending(), operation("evaluate many", lambda: {"requests": len(chunk.requests)}):
                chunk.take(await self._attempt(send, self._deadline(timeout)))
        return chunk.settled(await self._each(partial(attempted_async, self._evaluate_prepared), chunk.left()))

    async def _max_requests(self, timeout: float | None) -> int:
        """The most that go in one message of a `map`; 0 if each goes alone."""
        return await self._run(self._session.max_requests, timeout) if self._coalesce else 0

    async def _close(self) -> None:
        self._session.close()
        for wire in self._connection.close():
            await wire.close()

    async def _run(self, flow: Flow[T], timeout: float | None, heads: Heads = NO_HEADS) -> T:
        deadline, flow = self._deadline(timeout), self._heads.ensuring(flow, heads)
        try:
            return await flow(self._connection.wire(), deadline)
        except PASSING as error:
            retries = Retries(self._retry, deadline, self._session.forget, self._sleep)
            return await retries.go_on(partial(self._attempt, flow, deadline), error)

    async def _attempt(self, flow: Flow[T], deadline: Deadline) -> T:
        return await flow(self._connection.wire(), deadline)
