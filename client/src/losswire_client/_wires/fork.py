"""Clients in the child of a fork. The child lacks gRPC's threads, and locks that they held stay locked there."""

import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from losswire_client._errors import LosswireError

QUIET_SECONDS = 2.0  # how long a fork waits for calls under way to end
SETTLE_SECONDS = 0.1  # how long gRPC's own threads may still work after the last call
FALSE = ("0", "f", "false", "n", "no")  # as gRPC reads its variables


class Process:
    """What gRPC can do in this process. If a parent forked amid a call, one child in ten would hang.

    Attributes:
        is_child: Whether this process was forked from a process that had imported this package.
    """

    def __init__(self) -> None:
        self.is_child = False
        self._trouble = ""
        self._aio_trouble = ""
        self._aio_users: weakref.WeakSet[object] = weakref.WeakSet()
        self._start_counting()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Surrounds all use of ``grpc``: forks wait for its end, and it waits for the end of forks."""
        with self._lock:
            self._changed.wait_for(lambda: not self._forks)
            self._calls += 1
            self._has_called = True
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                self._changed.notify_all()

    def check_grpc(self) -> None:
        """Raises an error if any call might hang."""
        if self._trouble:
            raise LosswireError(f"gRPC does not work in this process, which was forked {self._trouble}")

    def use_aio(self, user: object) -> None:
        """Raises an error if any call of ``grpc.aio`` would hang. Notes that the user will make such calls."""
        if self._aio_trouble:
            raise LosswireError(self._aio_trouble)
        self._aio_users.add(user)

    def leave_aio(self, user: object) -> None:
        self._aio_users.discard(user)

    def before_fork(self) -> None:
        supported = _grpc_supports_forks()  # otherwise children make no calls, and a fork need not wait
        with self._lock:
            self._forks += 1
            self._changed.wait_for(lambda: not self._calls, QUIET_SECONDS if supported else 0)
        if supported and self._has_called:
            time.sleep(SETTLE_SECONDS)
        if supported and self._aio_users:
            _warn_of_aio()  # last, since it raises where warnings are errors; Python shows that and forks

    def after_fork(self) -> None:
        with self._lock:
            self._forks -= 1
            self._changed.notify_all()

    def become_child(self) -> None:
        self.is_child = True
        if not _grpc_supports_forks():
            self._trouble = "with GRPC_ENABLE_FORK_SUPPORT=0: unset that, or start processes by the spawn method"
        elif self._calls:
            self._trouble = "while calls were under way: fork before, or start processes by the spawn method"
        if self._aio_users:
            problem = "AsyncClient does not work in a process that was forked from one which was using it"
            self._aio_trouble = f"{problem}: use Client there, or start processes by the spawn method"
        self._start_counting()

    def _start_counting(self) -> None:
        self._lock = threading.RLock()  # taken directly: an interrupt in a method of Condition would leave it locked
        self._changed = threading.Condition(self._lock)
        self._calls = 0
        self._forks = 0
        self._has_called = False


def _grpc_supports_forks() -> bool:
    return os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "1").lower() not in FALSE


def _warn_of_aio() -> None:
    # gRPC's threads go on in the child, with half-done work of pollers that do not exist there.
    problem = "gRPC may end the child of a process that is using AsyncClient (SIGSEGV, SIGABRT)"
    remedy = "close it before, set GRPC_ENABLE_FORK_SUPPORT=0, or start processes by the spawn method"
    warnings.warn(f"{problem}: {remedy}", RuntimeWarning, stacklevel=3)


PROCESS = Process()
_to_call: set[weakref.WeakMethod[Callable[[], None]]] = set()


def call_after_fork(method: Callable[[], None]) -> None:
    """Has a method called first of all in every child, as long as its object lives."""
    _to_call.add(weakref.WeakMethod(method, _to_call.discard))


def _in_child() -> None:
    PROCESS.become_child()
    for reference in tuple(_to_call):
        method = reference()
        if method is not None:
            method()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=PROCESS.before_fork, after_in_parent=PROCESS.after_fork, after_in_child=_in_child)
