"""The errors, and the words of those that the SDK raises itself. The package's docstring draws the tree."""

import grpc

from losswire.exact_sums import ExactSums


class LosswireError(Exception):
    """Something went wrong, on either side.

    Attributes:
        code: The gRPC status of the call; None if it was not sent.
        retry_seconds: How long the server says to wait at least before a retry; infinity for never.
        batch: The batch of a `map` that failed, counted from 0; the message says it too. None outside a `map`.
    """

    retry_seconds = 0.0
    batch: int | None = None

    def __init__(self, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return super().__str__() if self.batch is None else f"batch {self.batch}: {super().__str__()}"


class InvalidArgumentError(LosswireError, ValueError):
    """An argument is wrong; nothing was computed.

    Attributes:
        argument: Its name, as in ``target``; empty if the server named none.
        hint: What the caller may have meant. It ends the message; empty if there is no guess.
    """

    argument = ""
    hint = ""

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.hint}" if self.hint else super().__str__()


class SignatureError(InvalidArgumentError, TypeError):
    """A call does not fit a signature: Python's TypeError as an error of the tree."""


class RegionLostError(InvalidArgumentError):
    """The server does not know a region of shared memory any more. The SDK handles this error itself."""


class NotServedError(LosswireError):
    """The arguments are right, but this server does not serve what they ask for."""


class NotFoundError(LosswireError, LookupError):
    """The server has nothing of this name, such as a run."""


class HeadNotFoundError(NotFoundError):
    """The server does not hold a head: register it. A call that was given a `Head` does so itself, where it may.

    Attributes:
        head: Digest or alias of the head; empty if the server did not tell.
    """

    head = ""


class ConflictError(LosswireError):
    """What came contradicts what the server has: the key or the run of this name.

    Attributes:
        argument: The argument in which a run differs from the run of its name, as in ``labels``; else empty.
        counted: The sums with which the key counts; None if the conflict is not about a key, or the sums are too large
            for an error, since losses are of all magnitudes.
        came: The sums that came now, and do not count; None likewise.
    """

    argument = ""
    counted: ExactSums | None = None
    came: ExactSums | None = None


class PreconditionError(LosswireError):
    """The run is not in the state that the call needs.

    Attributes:
        argument: The argument in which an evaluation differs from its run; else empty.
        missing: Keys that the run lacks, as many as the server tells.
        unexpected: Keys that the run has, and should not have.
    """

    argument = ""
    missing: list[str]
    unexpected: list[str]

    def __init__(self, message: str, code: grpc.StatusCode | None = None) -> None:
        super().__init__(message, code)
        self.missing, self.unexpected = [], []

    def __str__(self) -> str:
        named = (("missing", self.missing), ("unexpected", self.unexpected))
        return "; ".join([super().__str__(), *(f"{name}: {_first(keys)}" for name, keys in named if keys)])


class DeadlineExceededError(LosswireError, TimeoutError):
    """No answer came in time."""


class UnavailableError(LosswireError, ConnectionError):
    """No server could be reached, it is shutting down, or it cannot reach its database. All calls may be sent again."""


class ResourceExhaustedError(LosswireError):
    """The request is larger than the server accepts, or there are as many runs, keys or slices as it keeps."""


class OverloadedError(ResourceExhaustedError):
    """Too much is in flight at the server, which says in `retry_seconds` when to come back."""


class UnauthenticatedError(LosswireError):
    """The server does not know who is calling; see the client's `token` and `tls`."""


class PermissionDeniedError(LosswireError):
    """This caller may not have what it asks for.

    Its token may not permit this loss or series, for example, or it is on another machine and cannot share memory.
    """


class CallCancelledError(LosswireError):
    """The call was cancelled on its way, not by its caller, but for example by a server in its last moments."""


class InternalError(LosswireError):
    """A fault of the server; its log says more."""


class StreamEndedError(InternalError):
    """A call was ended midway, and the reason is lost. The SDK asks whether the server has changed, and tries again."""


MAX_SHOWN = 200  # characters
MOST_KEYS = 5  # that the message of an error names


def invalid_argument(argument: str, problem: str, code: grpc.StatusCode | None = None) -> InvalidArgumentError:
    """The error about an argument, which it names as the user wrote it."""
    error = InvalidArgumentError(f"{argument}: {problem}", code)
    error.argument = argument
    return error


def shown(value: object) -> str:
    """A value for a message, in one line. A user's value may be long, or have no text at all."""
    try:
        text = _form_of(value) or " ".join(map(str.strip, repr(value).splitlines()))
    except Exception:  # noqa: BLE001 - an integer with too many digits raises one, for example
        return f"a {type(value).__name__}"
    return shortened(text)


def _form_of(value: object) -> str:
    """What an array is, whose elements tell little; empty for anything else."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is None or not shape:
        return ""
    return f"{type(value).__name__}: {str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"


def _first(keys: list[str]) -> str:
    """Some keys, for a message: its attributes have all."""
    return ", ".join([*map(shown, keys[:MOST_KEYS]), *(["..."] if len(keys) > MOST_KEYS else [])])


def shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def plain(number: float) -> str:
    """A number as it was written: 60 and not 60.0, 2592000 and not 2.592e+06."""
    return f"{float(number):.15g}"


def late(target: str, seconds: float) -> DeadlineExceededError:
    text = f"no answer from {target} within {plain(seconds)} seconds"
    return DeadlineExceededError(text, grpc.StatusCode.DEADLINE_EXCEEDED)


def leaving(target: str) -> UnavailableError:
    return UnavailableError(f"the server at {target} is shutting down", grpc.StatusCode.UNAVAILABLE)


def closed() -> LosswireError:
    return LosswireError("this client is closed")
