"""The calls of the contract, in one form for wires that block and for wires that await."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message

from losswire import v1
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._transports.packs import Outcome
from losswire_client._transports.region import Region
from losswire_client._transports.stream import Stream
from losswire_client._transports.upload import Upload

P = ParamSpec("P")
T = TypeVar("T")


class Wire(Protocol):
    """Does the I/O. All errors are errors of the tree.

    The methods of a wire that blocks never suspend: see `losswire_client._flow.run`.

    Attributes:
        is_broken: Whether calls over this wire may hang, so that another wire must be opened.
    """

    is_broken: bool

    async def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        """Sends a request in a message of its own."""

    async def evaluate_with_others(
        self, request: bytes, served: Capabilities, deadline: Deadline
    ) -> v1.EvaluateResponse:
        """Sends a request together with other callers' requests, if there are any at this time."""

    async def evaluate_together(self, requests: Sequence[bytes], deadline: Deadline) -> list[Outcome]:
        """Sends requests in one message, which they must fit. A single request is sent as it is."""

    async def evaluate_stream(self, stream: Stream, deadline: Deadline) -> None:
        """Sends the messages of a stream, and hands in the answers."""

    async def get_capabilities(self, deadline: Deadline) -> v1.GetCapabilitiesResponse: ...

    async def call_runs(self, method: str, request: Message, deadline: Deadline) -> Any:
        """Calls a method of RunService that has one answer."""

    def watch_run(self, request: v1.WatchRunRequest, deadline: Deadline) -> AsyncGenerator[v1.WatchRunResponse, None]:
        """A run as it changes. Its first state comes by the deadline; for the others there is none."""

    async def call_heads(self, method: str, request: Message, deadline: Deadline) -> Any:
        """Calls a method of HeadService that has one answer."""

    async def register_head(self, upload: Upload, deadline: Deadline) -> None:
        """Sends the messages of a head, and hands in the answers."""

    async def check_health(self, deadline: Deadline) -> float:
        """Checks the server's health. Returns the seconds that the answer took."""

    async def lease(self, size: int, deadline: Deadline) -> Region:
        """A region of the server's memory, which is ours as long as the lease lasts."""

    async def work(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Calls a function that takes long without I/O. Does not hold up an event loop."""

    async def wait(self, future: "Future[None]", seconds: float) -> bool:
        """Waits until a future of another thread is done, or for so many seconds. Returns whether it is done."""

    async def close(self) -> None:
        """Ends the calls under way."""


Flow: TypeAlias = Callable[[Wire, Deadline], Coroutine[Any, Any, T]]  # what a call does, over a wire and by a deadline
