"""Traces calls, or does not, as the settings say."""

from importlib.metadata import version
from typing import Any, Protocol

import grpc

from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError
from losswire_server.tracing.recording import NOTHING, Recording
from losswire_server.tracing.switch import MISSING


class CallTrace(Protocol):
    """The trace of one call.

    Attributes:
        recording: Notes the call's steps.
    """

    recording: Recording

    def end(
        self,
        code: grpc.StatusCode,
        seconds: float,
        received_bytes: int = 0,
        sent_bytes: int = 0,
        error: Exception | None = None,
    ) -> None:
        """Notes how the call has ended; the error is what ended it, if it was one of this service."""

    def close(self) -> None:
        """Tells the steps that came after the end, since an answer may still be on its way."""


class Tracing(Protocol):
    """Traces the calls of one service."""

    def begin(self, method: str, context: Any, peer: str) -> CallTrace:
        """Notes the start of a call, in the task that answers it and no other call.

        Args:
            method: The RPC's name.
            context: Of gRPC, with the caller's metadata.
            peer: The caller's address.
        """


class _Off:
    """Traces nothing."""

    recording = NOTHING

    def begin(self, method: str, context: Any, peer: str) -> "_Off":  # noqa: ARG002 - what a `Tracing` is asked
        return self

    def end(
        self,
        code: grpc.StatusCode,
        seconds: float,
        received_bytes: int = 0,
        sent_bytes: int = 0,
        error: Exception | None = None,
    ) -> None: ...

    def close(self) -> None: ...


OFF = _Off()


def tracing_of(settings: Settings) -> Tracing:
    """Traces calls by whatever tracer and meter this process has, if the settings ask for it.

    Raises:
        WrongSettingsError: OpenTelemetry is not installed.
    """
    if not settings.tracing:
        return OFF
    try:
        from losswire_server.tracing.spans import Spans
    except ImportError as error:
        raise WrongSettingsError(MISSING) from error
    return Spans(version("losswire-server"))
