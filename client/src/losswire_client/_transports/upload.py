"""A head on its way to a server, in parts. No I/O: a wire sends the messages, and hands in the answers."""

from collections.abc import Callable, Iterator, Sequence

from losswire import v1
from losswire.wire import LENGTH_DELIMITED, VARINT, tag, varint
from losswire_client._errors import InternalError

PART_BYTES = 2**20
ROOM_BYTES = 64  # of a message, beside the elements of its part
CONTENT = tag(v1.RegisterHeadRequest.CONTENT_FIELD_NUMBER, LENGTH_DELIMITED)
OFFSET = tag(v1.HeadPart.OFFSET_BYTES_FIELD_NUMBER, VARINT)
DATA = tag(v1.HeadPart.DATA_FIELD_NUMBER, LENGTH_DELIMITED)


class Upload:
    """One stream of a head's elements, from where the server has them already.

    Args:
        header: What is to be registered.
        elements: The bytes of its tensors, in the order in which they travel.
        max_message_bytes: The largest message that the server takes.
        report: Called with the number of bytes that the server has or that were sent to it, whenever that has changed.

    Attributes:
        began: How many bytes the server had when the stream began; None until it has told.
        held: The head, once the server has all of it.
    """

    def __init__(
        self,
        header: v1.HeadHeader,
        elements: Sequence[memoryview],
        max_message_bytes: int,
        report: Callable[[int], object],
    ) -> None:
        self.began: int | None = None
        self.held: v1.HeldHead | None = None
        self._header = header
        self._elements = elements
        self._part_bytes = max(1, min(PART_BYTES, max_message_bytes - ROOM_BYTES))
        self._report = report

    def header(self) -> bytes:
        """The first message. The others come after the first answer."""
        return v1.RegisterHeadRequest(header=self._header).SerializeToString()

    def parts(self) -> Iterator[bytes]:
        """All other messages, made one by one on demand. None if no answer has come, or the server has all."""
        if self.began is None or self.held is not None:
            return
        start = 0
        for data in self._elements:
            first = max(self.began, start)
            for offset in range(first, start + len(data), self._part_bytes):
                part = data[offset - start : offset - start + self._part_bytes]
                yield _message(offset, part)
                self._report(offset + len(part))
            start += len(data)

    def take(self, answer: v1.RegisterHeadResponse) -> None:
        """Takes an answer: first where to begin, and at the end the head."""
        if answer.HasField("head"):
            self.held = answer.head
            self._report(sum(map(len, self._elements)))
        elif self.began is None:
            self.began = answer.received_bytes
            self._report(self.began)

    def result(self) -> v1.HeldHead:
        """The head as the server holds it.

        Raises:
            InternalError: The server ended the stream without it.
        """
        if self.held is None:
            raise InternalError("the server ended the stream without the head")
        return self.held


def _message(offset: int, data: memoryview) -> bytes:
    """A message with a part. Its elements are copied once, which protobuf would do twice."""
    start = (OFFSET + varint(offset) if offset else b"") + DATA + varint(len(data))
    return b"".join((CONTENT, varint(len(start) + len(data)), start, data))
