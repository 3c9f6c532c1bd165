"""A process's end of its link with the supervisor: a socket, over which each sends the other lines of JSON."""

import ctypes
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

PR_SET_PDEATHSIG = 1

Message = dict[str, Any]


class Link:
    """May be used from any thread, but for `receive`.

    Args:
        descriptor: The socket.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # a compiler that is run here must not keep the link open
        self._socket = socket.socket(fileno=descriptor)
        self._received = self._socket.makefile("rb")
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Sends a message. If the supervisor is gone, nobody needs it."""
        line = f"{json.dumps(message)}\n".encode()
        with self._lock:
            try:
                self._socket.sendall(line)
            except OSError:
                return

    def receive(self) -> Message | None:
        """The next message; None if the supervisor is gone."""
        try:
            line = self._received.readline()
        except OSError:
            return None
        message: Message | None = json.loads(line) if line.endswith(b"\n") else None
        return message

    def listen(self, answers: Mapping[str, Callable[[], object]]) -> None:
        """Has a thread do what messages of one word ask for. It ends this process once the supervisor is gone."""
        threading.Thread(target=self._listen, args=(answers,), name="losswire-link", daemon=True).start()

    def _listen(self, answers: Mapping[str, Callable[[], object]]) -> None:
        while (message := self.receive()) is not None:
            answers[message["do"]]()
        os.kill(os.getpid(), signal.SIGKILL)


def end_with(supervisor: int) -> None:
    """Has the kernel end this process when the supervisor ends, even if no thread of this process gets on any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it has ended meanwhile
        os.kill(os.getpid(), signal.SIGKILL)
